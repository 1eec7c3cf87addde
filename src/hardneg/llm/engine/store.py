"""Replies of language models, stored in one SQLite file on a local disk and shared by the processes of a machine.

The key of a reply is the hash of the whole request with the model's identity, plus the number of the draw. Each reply
is committed as it arrives, so a killed process loses only the calls in flight; a power failure may also lose the last
seconds. A process claims a key before it sends the request. Claims of ended processes are free at once, others after
some minutes.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardneg.llm.protocol import LlmError, Reply, Request, Usage

BUSY_SECONDS = 30.0
"""Maximum wait for another process that writes."""
CLAIM_SECONDS = 300.0
"""Lifetime of a claim that is not renewed; matters only if its owner runs on another machine."""
APPLICATION_ID = 0x48_4E_4C_4D
LAYOUT_VERSION = 2
"""Layout 1 had no checksums; they are added when such a store is opened."""
TABLES = """
CREATE TABLE replies (
    key TEXT PRIMARY KEY,      -- digest of the request and the model, "/", number of the draw
    attempt INTEGER NOT NULL,  -- 0, or 1, 2, ... for repair requests
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
    request TEXT,              -- the request, if requests are kept
    sha256 TEXT                -- checksum of key, text, finish, probabilities, token counts and seconds
);
CREATE TABLE failures (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL, stored REAL NOT NULL, request TEXT
);
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
"""
CHECKED = "key, text, finish, probabilities, prompt_tokens, answer_tokens, cached_tokens, estimated, seconds"
"""Columns of a reply that its checksum covers."""
KEY_IN_JSON = "key IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Failure:
    """Why a request has no reply and is not sent again: the model refused it, or its last retry failed."""

    kind: Literal["refused", "failed"]
    reason: str


ReplyOutcome = Reply | Failure


@dataclass(frozen=True)
class StoredReply:
    """An outcome to store, with its request, None where only its key is known.

    repair: number of unusable replies before it.
    """

    key: str
    request: Request | None
    outcome: ReplyOutcome
    repair: int = 0


@dataclass(frozen=True)
class ClaimResult:
    """Result of a claim: outcomes already stored, keys granted to the owner, keys that others have claimed."""

    outcomes: dict[str, ReplyOutcome]
    granted: frozenset[str]
    denied: frozenset[str]


def request_key(request: Request, model: str) -> str:
    """Return the store's key of a request to the model with this identity."""
    return f"{request.digest(model)}/{request.draw}"


class ReplyStore:
    """An open store; may be used from several threads. Every error is an LlmError that names the file.

    keep_requests: also store the requests, for audits; costs the size of a prompt per reply and almost no time.
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
        """Close the file."""
        with self._lock:
            self._db.close()

    def __len__(self) -> int:
        """Number of stored replies."""
        with self._lock, self._errors():
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def known(self, keys: Sequence[str] | None = None) -> dict[str, ReplyOutcome]:
        """Return the outcomes of those keys that have one; None for all keys, failures first, then replies by age."""
        with self._lock, self._errors():
            if keys is None:
                return self._known("ORDER BY rowid")
            return self._known(f"WHERE {KEY_IN_JSON}", json.dumps(keys))

    def claim(self, keys: Sequence[str], owner: str) -> ClaimResult:
        """Claim the keys that have no outcome and no other living owner. owner: see `this_process`."""
        keys_json, now = json.dumps(keys), time.time()
        with self._transaction() as db:
            outcomes = self._known(f"WHERE {KEY_IN_JSON}", keys_json)
            query = f"SELECT key, owner FROM claims WHERE expires > ? AND {KEY_IN_JSON}"
            claims = db.execute(query, (now, keys_json)).fetchall()
            alive = {other for other in {other for _, other in claims} if other != owner and not is_gone(other)}
            denied = frozenset(key for key, other in claims if other in alive and key not in outcomes)
            granted = frozenset(keys) - outcomes.keys() - denied
            rows = [(key, owner, now + CLAIM_SECONDS) for key in granted]
            db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", rows)
        return ClaimResult(outcomes, granted, denied)

    def save(self, rows: Iterable[StoredReply], model: str) -> None:
        """Store outcomes in one transaction and release their claims; the first reply to a key stays. model: a name."""
        now = time.time()
        with self._transaction() as db:
            for row in rows:
                request = None if row.request is None or not self.keep_requests else _readable(row.request)
                if isinstance(row.outcome, Failure):
                    failure = (row.key, row.outcome.kind, _storable(row.outcome.reason), now, request)
                    db.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)", failure)
                else:
                    columns = _columns(row.outcome)
                    checksum = _checksum(row.key, *columns)
                    reply = (row.key, row.repair, model, *columns, now, request, checksum)
                    db.execute(f"INSERT OR IGNORE INTO replies VALUES ({', '.join('?' * 14)})", reply)
                db.execute("DELETE FROM claims WHERE key = ?", (row.key,))

    def renew(self, owner: str) -> None:
        """Extend the claims of this owner."""
        with self._transaction() as db:
            db.execute("UPDATE claims SET expires = ? WHERE owner = ?", (time.time() + CLAIM_SECONDS, owner))

    def release(self, owner: str) -> None:
        """Release the claims of this owner."""
        with self._transaction() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (owner,))

    def forget_failures(self) -> int:
        """Delete stored refusals and failures, so that their requests are sent again; returns their number."""
        with self._transaction() as db:
            return db.execute("DELETE FROM failures").rowcount

    def _known(self, clause: str, *values: str) -> dict[str, ReplyOutcome]:
        failures = self._db.execute(f"SELECT key, kind, reason FROM failures {clause}", values)
        known: dict[str, ReplyOutcome] = {key: Failure(kind, _text(reason)) for key, kind, reason in failures}
        replies = self._db.execute(f"SELECT {CHECKED}, sha256 FROM replies {clause}", values)
        for *checked, checksum in replies:
            key, text, finish, probabilities, prompt, answer, cached, estimated, seconds = checked
            try:
                if _checksum(*checked) != checksum:
                    raise ValueError("its checksum differs")
                usage = Usage(int(prompt), int(answer), int(cached), bool(estimated))
                known[key] = Reply(
                    _text(text), usage, finish, float(seconds), tuple(map(float, json.loads(probabilities)))
                )
            except (ValueError, TypeError, AttributeError) as error:
                raise LlmError(
                    f"{self.path}: the reply {key} is damaged ({error}); restore a copy of the file"
                ) from None
        return known

    def _prepare(self) -> None:
        """Create the tables in a new file; check that an existing file is a store of this layout."""
        with self._errors():
            _write_ahead(self._db)
            self._db.execute("PRAGMA synchronous = NORMAL")
        with self._transaction() as db:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
            application = db.execute("PRAGMA application_id").fetchone()[0]
            layout = db.execute("PRAGMA user_version").fetchone()[0]
            if (application, layout) == (APPLICATION_ID, 1):
                layout = _add_checksums(db)
        if application != APPLICATION_ID:
            raise LlmError(
                f"{self.path} is a database of another application, expected a store of replies; choose another file"
            )
        if layout != LAYOUT_VERSION:
            raise LlmError(
                f"{self.path} has store layout {layout}, expected {LAYOUT_VERSION}; "
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
            raise LlmError(f"{self.path}: {error.strerror}; choose another path for the store of replies") from None
        except sqlite3.Error as error:
            raise LlmError(f"{self.path}: {error}; {_remedy(str(error))}") from None


def _remedy(error: str) -> str:
    if "locked" in error:
        return f"another program has held the store of replies for {BUSY_SECONDS:g} s; wait for it or end it"
    if "not a database" in error or "malformed" in error:
        return "not a store of replies, or damaged; choose another file, or restore a copy"
    if "closed" in error:
        return "the store of replies is closed; open it again"
    return "check the disk and its permissions, or choose another path for the store of replies"


def _add_checksums(db: sqlite3.Connection) -> int:
    """Turn a store of layout 1 into one of layout 2, which is returned; its replies are taken as they are."""
    db.execute("ALTER TABLE replies ADD COLUMN sha256 TEXT")
    checksums = [(_checksum(*row), row[0]) for row in db.execute(f"SELECT {CHECKED} FROM replies")]
    db.executemany("UPDATE replies SET sha256 = ? WHERE key = ?", checksums)
    db.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
    return LAYOUT_VERSION


def _checksum(*columns: Any) -> str:
    """Return the SHA-256 of the columns CHECKED as they are stored."""
    return hashlib.sha256(repr(columns).encode(errors="surrogatepass")).hexdigest()


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite does not wait for other processes in this step."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _columns(reply: Reply) -> tuple[Any, ...]:
    usage = reply.usage
    counts = map(int, (usage.prompt_tokens, usage.answer_tokens, usage.cached_tokens, usage.estimated))
    return (_storable(reply.text), str(reply.finish), json.dumps(reply.probabilities), *counts, float(reply.seconds))


def _readable(request: Request) -> str | bytes:
    """Return the request as JSON without \\u escapes."""
    text = request.canonical
    return _storable(json.dumps(json.loads(text), ensure_ascii=False)) if "\\u" in text else text


def _storable(text: str) -> str | bytes:
    """Return bytes for text with a lone surrogate, which SQLite does not take as text and models do write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _text(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


PROC = Path("/proc")
ENDED_STATES = "ZX"
"""States of a process that has ended but is still listed."""


def this_process() -> str:
    """Return the owner "host|boot|pid|started" of this process's claims; a suffix after another "|" may follow.

    host: host name and PID namespace (containers have their own). boot: identifies the machine's start. started: start
    time of the process in the machine's own clock ticks. An unknown part is "".
    """
    return "|".join((_host(), _boot(), str(os.getpid()), _started(os.getpid())))


def is_gone(owner: str) -> bool:
    """Return True if an owner is known to have ended; False for running processes and for other machines."""
    host, boot, pid, started, *_ = (*owner.split("|"), "", "", "", "")
    if host != _host() or not pid.isdecimal():
        return False
    if boot != _boot():
        return True
    if PROC.is_dir():
        return _started(int(pid)) != started
    if os.name == "posix":
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except OSError:  # it runs under another user
            return False
    return False


def _host() -> str:
    try:
        namespace = os.readlink(PROC / "self" / "ns" / "pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".replace("|", " ").strip()


def _boot() -> str:
    return _read_proc("sys/kernel/random/boot_id").strip()


def _started(pid: int) -> str:
    fields = _read_proc(f"{pid}/stat").rpartition(")")[2].split()
    return "" if not fields or fields[0] in ENDED_STATES else fields[19]


def _read_proc(name: str) -> str:
    try:
        return (PROC / name).read_text()
    except OSError:
        return ""
