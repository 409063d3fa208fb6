"""The one user on record."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError

from ogc_async import db
from ogc_async.db import Engine
from ogc_async.db.users import MAX_SLUG, create_user, current_user
from ogc_async.errors import NoUser, StoreError
from ogc_async.settings import Settings


async def test_without_a_user_the_error_says_how_to_make_one(engine: Engine) -> None:
    with pytest.raises(NoUser, match="ogc init"):
        await current_user(engine)


async def test_a_user_is_created_once_and_exists_afterwards(engine: Engine) -> None:
    created, is_new = await create_user(engine, "Ada Lovelace")
    assert (created.name, created.slug, is_new) == ("Ada Lovelace", "ada-lovelace", True)
    again, is_new_again = await create_user(engine, "Somebody Else")
    assert (again, is_new_again) == (created, False)
    assert await current_user(engine) == created


async def test_every_record_has_a_scope_of_its_own_even_under_one_name(engine: Engine) -> None:
    first, _ = await create_user(engine, "Adam")
    async with db.session(engine) as s:
        await s.delete(await s.get_one(db.User, first.id))
        await s.commit()
    second, is_new = await create_user(engine, "Adam")
    assert is_new
    assert second.slug == first.slug
    assert second.scope != first.scope


async def test_two_users_can_not_share_a_slug(engine: Engine) -> None:
    await create_user(engine, "Adam")
    async with db.session(engine) as s:
        s.add(db.User(name="another Adam", slug="adam"))
        with pytest.raises(IntegrityError, match=r"(?i)unique.*slug"):
            await s.commit()


async def test_of_many_that_create_the_user_at_once_one_does_and_all_get_the_same(database_url: URL) -> None:
    engines = [db.connect(database_url, settings=Settings(_env_file=None)) for _ in range(6)]
    try:
        answers = await asyncio.gather(*(create_user(each, f"Adam {n}") for n, each in enumerate(engines)))
        async with db.session(engines[0]) as s:
            slugs = [found.slug for found in await s.select(db.User)]
    finally:
        for each in engines:
            await each.aclose()
    assert sorted(is_new for _, is_new in answers) == [False] * 5 + [True]
    assert {found.slug for found, _ in answers} == set(slugs)
    assert len(slugs) == 1


async def test_the_first_of_several_users_is_the_one_that_counts(engine: Engine) -> None:
    async with db.session(engine) as s:
        s.add_all([db.User(name="Zoe", slug="zoe"), db.User(name="Adam", slug="adam")])
        await s.commit()
    assert (await current_user(engine)).slug == "zoe"


@pytest.mark.parametrize(("name", "slug"), [("Ærøskøbing", "aeroskobing"), ("a_b.c", "a-b-c"), ("x" * 200, "x" * 40)])
async def test_any_name_becomes_a_slug_that_every_cloud_takes(engine: Engine, name: str, slug: str) -> None:
    created, _ = await create_user(engine, name)
    assert (created.name, created.slug) == (name, slug)
    assert len(created.slug) <= MAX_SLUG


@pytest.mark.parametrize("name", ["", "   ", "!?", "—"])
async def test_a_name_without_a_letter_or_digit_is_refused_and_leaves_nothing(engine: Engine, name: str) -> None:
    with pytest.raises(StoreError, match="needs at least one letter or digit"):
        await create_user(engine, name)
    with pytest.raises(NoUser):
        await current_user(engine)
