"""What became of a person's wish, told by the page that the answer leads to.

It travels in a cookie for one page: in the address it could be anybody's words.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from operators.errors import ChoiceInvalid

LONGEST_REASON = 500
"""Characters of a reason that a person gives."""

COOKIE = "nightreel_notice"
LIFETIME_S = 60
# A cookie holds 4,096 bytes at most.
LONGEST = 400


@dataclass(frozen=True)
class Notice:
    """`is_good`: it was done. Else `text` says why not."""

    text: str
    is_good: bool


def act(request: Request, path: str, reason: str, change: Callable[[str], str]) -> RedirectResponse:
    """Do what a person asks for, and lead back to the page that tells what holds now, or why it was refused.

    Args:
        request: The person's.
        path: Of that page, below the application.
        reason: As the person wrote it.
        change: Gets the reason, and returns what holds now; it raises `ChoiceInvalid` where it refuses.
    """
    try:
        notice = Notice(change(_checked(reason)), is_good=True)
    except ChoiceInvalid as refusal:
        notice = Notice(str(refusal), is_good=False)
    response = RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)
    response.set_cookie(COOKIE, _packed(notice), max_age=LIFETIME_S, httponly=True, samesite="strict")
    return response


def find_notice(request: Request) -> Notice | None:
    """What the last answer left for this page; nothing where it is not ours."""
    try:
        return Notice(**json.loads(base64.urlsafe_b64decode(request.cookies.get(COOKIE, ""))))
    except (ValueError, TypeError):
        return None


def forget_notice(response: Response) -> None:
    """It was shown: the next page does not."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def _checked(reason: str) -> str:
    if len(reason) > LONGEST_REASON:
        raise ChoiceInvalid(
            f"a reason must have at most {LONGEST_REASON} characters: it has {len(reason)}; say it shorter"
        )
    return reason.strip()


def _packed(notice: Notice) -> str:
    text = notice.text if len(notice.text) <= LONGEST else f"{notice.text[: LONGEST - 1]}…"
    told = json.dumps({**asdict(notice), "text": text}, ensure_ascii=False)
    return base64.urlsafe_b64encode(told.encode("utf-8", "replace")).decode()
