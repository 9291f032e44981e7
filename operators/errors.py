"""The exceptions of Airflow's side, apart from Airflow's own that decide a task's state."""


class NightreelError(Exception):
    """Anything that Nightreel's own code on Airflow's side raises on purpose."""


class SettingMissing(NightreelError):
    """A setting that the deployment must give is absent."""


class ChoiceInvalid(NightreelError):
    """What a person asked for cannot be had."""


class ShardMissing(NightreelError):
    """A run has no shard to work on."""
