"""Replies that were paid for, kept: one SQLite file on a local disk, shared by the processes of a machine.

A reply is found by the hash of the whole request with the model's identity, and the number of the draw. Each reply is
committed as it comes, so a process that is killed loses what was in flight and nothing else (a machine that loses power
may lose the last seconds too). Who is about to ask claims the key first; the claim of a process that died is free at
once, another's after some minutes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardneg.llm.engine.claims import Owner
from hardneg.llm.protocol import LlmError, Reply, Request, Usage

BUSY_SECONDS = 30.0
"""How long to wait for another process that writes."""
CLAIM_SECONDS = 300.0
"""How long a claim holds unless it is renewed; only matters where nobody can see whether its owner lives."""
APPLICATION = 0x48_4E_4C_4D
LAYOUT = 1
TABLES = """
CREATE TABLE replies (
    key TEXT PRIMARY KEY,      -- digest of the request and the model, "/", number of the draw
    attempt INTEGER NOT NULL,  -- 0, or 1, 2, ... where an earlier reply was bad and the request says so
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    probabilities TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    answer_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    seconds REAL NOT NULL,
    stored REAL NOT NULL,      -- seconds since 1970
    request TEXT               -- what was asked, if that is kept
);
CREATE TABLE failures (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL, stored REAL NOT NULL, request TEXT
);
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
"""
REPLY = "text, finish, probabilities, prompt_tokens, answer_tokens, cached_tokens, estimated, seconds"
AMONG = "key IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Failure:
    """Why a request has no reply and is not asked again: the model refused it, or every call for it failed."""

    kind: Literal["refused", "failed"]
    reason: str


ReplyOutcome = Reply | Failure


@dataclass(frozen=True)
class StoredReply:
    """An outcome to be stored, with what was asked. attempt: as in the table."""

    key: str
    request: Request
    outcome: ReplyOutcome
    attempt: int = 0


@dataclass(frozen=True)
class Claimed:
    """What a claim brought: outcomes that were there already, keys that are ours to ask, keys that others ask."""

    known: dict[str, ReplyOutcome]
    ours: frozenset[str]
    theirs: frozenset[str]


def request_key(request: Request, model: str) -> str:
    """The store's key of a request to the model of this identity."""
    return f"{request.digest(model)}/{request.draw}"


class ReplyStore:
    """The file, open. May be used from several threads. Every error is an LlmError that names the file.

    keep_requests: also keep what was asked, for whoever audits: the prompt's size a reply, and no time to speak of.
    Replies are found without it.
    """

    def __init__(self, path: Path, *, keep_requests: bool = True) -> None:
        self.path, self.keep_requests = path, keep_requests
        self._lock = threading.RLock()
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> ReplyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what was stored is there."""
        with self._lock:
            self._db.close()

    def __len__(self) -> int:
        """Stored replies."""
        with self._lock, self._errors():
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def known(self, keys: Sequence[str]) -> dict[str, ReplyOutcome]:
        """The outcomes of those keys that have one."""
        with self._lock, self._errors():
            return self._known(json.dumps(keys))

    def claim(self, keys: Sequence[str], owner: str) -> Claimed:
        """Claim the keys that have no outcome and that nobody else is asking; owner: str of an Owner, and more."""
        among, now = json.dumps(keys), time.time()
        with self._transaction() as db:
            known = self._known(among)
            held = db.execute(f"SELECT key, owner FROM claims WHERE expires > ? AND {AMONG}", (now, among)).fetchall()
            alive = {other for other in {other for _, other in held} if other != owner and not _gone(other)}
            theirs = frozenset(key for key, other in held if other in alive and key not in known)
            ours = frozenset(keys) - known.keys() - theirs
            rows = [(key, owner, now + CLAIM_SECONDS) for key in ours]
            db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", rows)
        return Claimed(known, ours, theirs)

    def save(self, found: Iterable[StoredReply], model: str) -> None:
        """Store outcomes in one transaction and free their claims; the first reply to a key stays. model: a name."""
        now = time.time()
        with self._transaction() as db:
            for one in found:
                asked = _readable(one.request) if self.keep_requests else None
                if isinstance(one.outcome, Failure):
                    row = (one.key, one.outcome.kind, _storable(one.outcome.reason), now, asked)
                    db.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)", row)
                else:
                    values = (one.key, one.attempt, model, *_columns(one.outcome), now, asked)
                    db.execute(f"INSERT OR IGNORE INTO replies VALUES ({', '.join('?' * 13)})", values)
                db.execute("DELETE FROM claims WHERE key = ?", (one.key,))

    def renew(self, owner: str) -> None:
        """Let the claims of this owner hold on."""
        with self._transaction() as db:
            db.execute("UPDATE claims SET expires = ? WHERE owner = ?", (time.time() + CLAIM_SECONDS, owner))

    def release(self, owner: str) -> None:
        """Give up the claims of this owner."""
        with self._transaction() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (owner,))

    def forget_failures(self) -> int:
        """Forget what was refused or failed for good, so that it is asked again; returns how many."""
        with self._transaction() as db:
            return db.execute("DELETE FROM failures").rowcount

    def replies(self) -> Iterator[tuple[str, Reply]]:
        """Every key with its reply, oldest first."""
        last = 0
        while rows := self._page(last):
            last = rows[-1][0]
            yield from ((row[1], _reply(row[2:])) for row in rows)

    def failures(self) -> dict[str, Failure]:
        """Every key that failed for good or was refused."""
        with self._lock, self._errors():
            rows = self._db.execute("SELECT key, kind, reason FROM failures ORDER BY rowid").fetchall()
        return {key: Failure(kind, _text(reason)) for key, kind, reason in rows}

    def _page(self, after: int) -> list[Any]:
        with self._lock, self._errors():
            query = f"SELECT rowid, key, {REPLY} FROM replies WHERE rowid > ? ORDER BY rowid LIMIT 1000"
            return self._db.execute(query, (after,)).fetchall()

    def _known(self, among: str) -> dict[str, ReplyOutcome]:
        failures = self._db.execute(f"SELECT key, kind, reason FROM failures WHERE {AMONG}", (among,))
        known: dict[str, ReplyOutcome] = {key: Failure(kind, _text(reason)) for key, kind, reason in failures}
        for row in self._db.execute(f"SELECT key, {REPLY} FROM replies WHERE {AMONG}", (among,)):
            known[row[0]] = _reply(row[1:])
        return known

    def _prepare(self) -> None:
        """Make the tables in a new file; make sure that an old one is ours."""
        with self._errors():
            _write_ahead(self._db)
            self._db.execute("PRAGMA synchronous = NORMAL")
        with self._transaction() as db:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {LAYOUT}")
            application = db.execute("PRAGMA application_id").fetchone()[0]
            layout = db.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION:
            raise LlmError(f"{self.path} is a database of something else, expected a store of replies; choose another")
        if layout != LAYOUT:
            raise LlmError(
                f"{self.path} has layout {layout} of the store of replies, expected {LAYOUT}; "
                "use the version of hardneg that wrote it, or choose another file"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.rollback()
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LlmError(f"{self.path}: {error.strerror}; choose another place for the store of replies") from None
        except sqlite3.Error as error:
            raise LlmError(f"{self.path}: {error}; {_remedy(str(error))}") from None


def _remedy(said: str) -> str:
    if "locked" in said:
        return f"another program has held the store of replies for {BUSY_SECONDS:g} s; wait for it or end it"
    if "not a database" in said or "malformed" in said:
        return "it is no store of replies, or is damaged; choose another file, or put back a copy of it"
    if "closed" in said:
        return "the store of replies was closed; open it again"
    return "check the disk and its rights, or choose another place for the store of replies"


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; this one step does not wait for others by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _gone(owner: str) -> bool:
    found = Owner.read(owner)
    return found is not None and found.gone()


def _columns(reply: Reply) -> tuple[Any, ...]:
    usage = reply.usage
    counts = (usage.prompt_tokens, usage.answer_tokens, usage.cached_tokens, usage.estimated)
    return (_storable(reply.text), reply.finish, json.dumps(reply.probabilities), *counts, reply.seconds)


def _reply(row: Sequence[Any]) -> Reply:
    text, finish, probabilities, prompt, answer, cached, estimated, seconds = row
    usage = Usage(prompt, answer, cached, bool(estimated))
    return Reply(_text(text), usage, finish, seconds, tuple(json.loads(probabilities)))


def _readable(request: Request) -> str | bytes:
    """The request as JSON in its own script, not in escapes."""
    canonical = request.canonical
    if "\\u" not in canonical:
        return canonical
    return _storable(json.dumps(json.loads(canonical), ensure_ascii=False))


def _storable(text: str) -> str | bytes:
    """Half a surrogate pair, which a model may well write, is no text to SQLite; such text is kept as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _text(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")
