"""From a merge patch to the event that edits a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from app.domain import Edit, InvalidLink, Problem, balance_after, check_fields, clean_tags, due_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.domain import Link, Standing
    from app.service.drafts import LinkRules

__all__ = ["edit_of", "patched"]


def patched(link: Link, members: Mapping[str, Any], rules: LinkRules, *, via: str) -> Link:
    """Return what a patch makes of a link: members by name, None for the default. Raises `InvalidLink`."""
    problems: list[Problem] = []
    wanted = dict(members)
    if wanted.get("url", "") is None:
        problems.append(Problem("/url", "must be a URL; it cannot be removed"))
    elif "url" in wanted and wanted["url"] != link.url:
        wanted["url"] = rules.href(wanted["url"], problems, via=via)
    defaults = {"tags": (), "redirect_status": rules.redirect_status, "forward_query": False}
    for name, default in defaults.items():
        if name in wanted and wanted[name] is None:
            wanted[name] = default
    if "tags" in wanted:
        wanted["tags"] = clean_tags(wanted["tags"])
    if problems:
        wanted.pop("url")
    changed = replace(link, **wanted)
    problems += check_fields(
        starts_at=changed.starts_at,
        expires_at=changed.expires_at,
        max_visits=changed.max_visits,
        redirect_status=changed.redirect_status,
        tags=changed.tags,
        title=changed.title,
    )
    if problems:
        raise InvalidLink(problems)
    return changed


def edit_of(before: Standing, link: Link) -> Edit:
    """Return the event that makes a link become `link`, decided at the moment of `before`."""
    remaining = None if link.max_visits is None else balance_after(before, link)
    members = tuple(name for name in link.__struct_fields__ if getattr(link, name) != getattr(before.link, name))
    return Edit(due=due_state(link, before.at, remaining), members=members, link=link)
