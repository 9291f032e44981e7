#!/bin/bash
# Make the database cluster on the first start, then become the server.
#
# Compatible with the official image in what Nightreel uses: POSTGRES_USER, POSTGRES_PASSWORD,
# POSTGRES_INITDB_ARGS, PGDATA and /docker-entrypoint-initdb.d/*.sql and *.sh.
# The cluster is made beside its place and renamed when it is complete: a first start that is killed
# half way leaves nothing that a second one would take for a database.
set -euo pipefail

initialize() {
  local new=$PGDATA.new user=${POSTGRES_USER:-postgres} script
  : "${POSTGRES_PASSWORD:?must be set before the first start: the password of the user ${user}}"
  if ! [ -r /docker-entrypoint-initdb.d ] || ! [ -x /docker-entrypoint-initdb.d ]; then
    echo "/docker-entrypoint-initdb.d must be readable by user $(id -u): it is not; chmod it 755 on the host" >&2
    exit 1
  fi
  rm -rf "$new"
  # shellcheck disable=SC2086 # several arguments in one variable, as in the official image
  initdb --pgdata="$new" --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  printf "\nhost all all all scram-sha-256\n" >>"$new/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >>"$new/postgresql.conf"

  # No TCP until the scripts have run: whoever waits for the port waits for a complete database.
  pg_ctl --pgdata="$new" --wait --options="-c listen_addresses=''" start
  export PGUSER=$user PGDATABASE=postgres
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) bash "$script" ;;
      *.sql) psql --set=ON_ERROR_STOP=1 --no-password --no-psqlrc --file="$script" ;;
    esac
  done
  pg_ctl --pgdata="$new" --wait --mode=fast stop
  unset PGUSER PGDATABASE
  sync
  mv "$new" "$PGDATA"
}

[ "${1:0:1}" != "-" ] || set -- postgres "$@"
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ ! -w "$(dirname "$PGDATA")" ] || [ -n "$(ls -A "$PGDATA" 2>/dev/null)" ]; then
    echo "PGDATA must be a new folder inside a volume that user $(id -u) may write: $PGDATA is not" >&2
    exit 1
  fi
  initialize
fi
exec "$@"
