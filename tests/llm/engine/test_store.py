"""The store: replies persist, claims exclude other processes, and other files are refused."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.engine.stored import stored_failures, stored_replies

from hardneg.llm.engine import store as stores
from hardneg.llm.engine.store import Failure, ReplyStore, StoredReply, request_key, this_process
from hardneg.llm.protocol import LlmError, Message, Reply, Request, Usage

REQUEST = Request((Message("system", "Be kind."), Message("user", "Wer möchte das? 楽しい")), 20)
REPLY = Reply("those who dance", Usage(12, 3, 8, True), "length", 0.25, (0.25, 0.75))
ME = f"{this_process()}|0"
OTHER = f"{this_process()}|1"
texts = st.text(st.characters(exclude_categories=()), max_size=20)  # with half surrogate pairs and NUL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "replies.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ReplyStore]:  # type: ignore[override]
    with ReplyStore(path) as opened:
        yield opened


def save(store: ReplyStore, key: str, outcome: Reply | Failure = REPLY) -> None:
    store.save([StoredReply(key, REQUEST, outcome)], "some model")


def dead_owner() -> str:
    """Return the owner string of an ended process."""
    code = "from hardneg.llm.engine.store import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


class TestReplies:
    def test_reply_is_read_by_another_connection(self, store: ReplyStore, path: Path) -> None:
        key = request_key(REQUEST, "model at address")
        save(store, key)
        with ReplyStore(path) as other:
            assert other.known([key, "x/0"]) == {key: REPLY}
            assert list(stored_replies(other).items()) == [(key, REPLY)]
            assert len(other) == 1

    def test_the_key_is_digest_and_draw(self) -> None:
        key = request_key(REQUEST, "m")
        assert key == f"{REQUEST.digest('m')}/0"
        assert request_key(REQUEST, "n") != key

    @settings(max_examples=50, deadline=None)
    @given(
        text=texts,
        reason=texts,
        finish=st.sampled_from(["stop", "length", ""]),
        counts=st.tuples(*[st.integers(0, 2**40)] * 3),
        probabilities=st.lists(st.floats(0, 1), max_size=3),
        seconds=st.floats(0, 1e6),
    )
    def test_any_reply_and_reason_round_trip(self, tmp_path_factory: Any, **values: Any) -> None:
        usage = Usage(*values["counts"])
        reply = Reply(values["text"], usage, values["finish"], values["seconds"], tuple(values["probabilities"]))
        request = Request((Message("user", values["text"]),), 1)
        with ReplyStore(tmp_path_factory.mktemp("s") / "s") as fresh:
            fresh.save(
                [StoredReply("a/0", request, reply), StoredReply("b/0", request, Failure("failed", values["reason"]))],
                "m",
            )
            assert fresh.known(["a/0", "b/0"]) == {"a/0": reply, "b/0": Failure("failed", values["reason"])}
            assert list(stored_replies(fresh).items()) == [("a/0", reply)]

    def test_killed_process_loses_no_saved_reply(self, path: Path) -> None:
        code = """
import os, sys
from pathlib import Path
from hardneg.llm.protocol import *
from hardneg.llm.engine.store import *
store = ReplyStore(Path(sys.argv[1]))
for row in range(100):
    store.save([StoredReply(f"{row}/0", Request((Message("user", "x"),), 1), Reply(f"reply {row}", Usage(1, 1)))], "m")
os.kill(os.getpid(), 9)
"""
        assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
        with ReplyStore(path) as left:
            assert [reply.text for reply in stored_replies(left).values()] == [f"reply {row}" for row in range(100)]

    def test_the_first_reply_stays(self, store: ReplyStore) -> None:
        save(store, "a/0")
        save(store, "a/0", Reply("another", Usage(1, 1)))
        assert store.known(["a/0"]) == {"a/0": REPLY}

    def test_failures_stay_until_deleted(self, store: ReplyStore) -> None:
        save(store, "a/0", Failure("refused", "too long"))
        save(store, "b/0")
        assert store.known(["a/0"]) == stored_failures(store) == {"a/0": Failure("refused", "too long")}
        assert store.forget_failures() == 1
        assert store.known(["a/0", "b/0"]) == {"b/0": REPLY}

    def test_reply_takes_precedence_over_a_failure(self, store: ReplyStore) -> None:
        save(store, "a/0", Failure("failed", "gone"))
        save(store, "a/0")
        assert store.known(["a/0"]) == {"a/0": REPLY}

    def test_all_outcomes_come_in_order(self, store: ReplyStore) -> None:
        store.save([StoredReply(f"{row}/0", REQUEST, REPLY) for row in range(2500)], "m")
        assert list(stored_replies(store)) == [f"{row}/0" for row in range(2500)]

    def test_requests_are_stored_without_escapes(self, store: ReplyStore, path: Path) -> None:
        save(store, "a/0")
        (text,) = sqlite3.connect(path).execute("SELECT request FROM replies").fetchone()
        assert "Wer möchte das? 楽しい" in text
        assert json.loads(text) == json.loads(REQUEST.canonical)

    def test_requests_can_be_omitted(self, path: Path) -> None:
        with ReplyStore(path, keep_requests=False) as opened:
            save(opened, "a/0")
        assert b"Be kind" not in path.read_bytes()


class TestClaims:
    def test_claimed_keys_are_denied_to_others(self, store: ReplyStore) -> None:
        save(store, "a/0")
        first = store.claim(["a/0", "b/0", "c/0"], ME)
        assert (first.outcomes, first.granted, first.denied) == ({"a/0": REPLY}, {"b/0", "c/0"}, set())
        second = store.claim(["a/0", "b/0", "d/0"], OTHER)
        assert (second.outcomes, second.granted, second.denied) == ({"a/0": REPLY}, {"d/0"}, {"b/0"})
        assert store.claim(["b/0"], ME).granted == {"b/0"}, "an owner may claim its own keys again"

    def test_saving_and_releasing_free_a_claim(self, store: ReplyStore) -> None:
        store.claim(["a/0", "b/0", "c/0"], ME)
        save(store, "a/0")
        save(store, "b/0", Failure("failed", "x"))
        assert store._db.execute("SELECT key FROM claims").fetchall() == [("c/0",)]
        assert store.claim(["a/0", "b/0", "c/0"], OTHER).denied == {"c/0"}
        store.release(ME)
        assert store.claim(["c/0"], OTHER).granted == {"c/0"}

    def test_claim_of_an_ended_process_is_free_at_once(self, store: ReplyStore) -> None:
        owner = dead_owner()
        assert store.claim(["a/0"], owner).granted == {"a/0"}
        assert store.claim(["a/0"], ME).granted == {"a/0"}

    def test_claim_of_another_machine_expires_unless_renewed(
        self, store: ReplyStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        far = "elsewhere|boot|1|1|0"
        now = time.time()
        store.claim(["a/0", "b/0"], far)
        monkeypatch.setattr(stores.time, "time", lambda: now + stores.CLAIM_SECONDS - 10)
        assert store.claim(["a/0"], ME).denied == {"a/0"}
        store.renew(far)
        monkeypatch.setattr(stores.time, "time", lambda: now + stores.CLAIM_SECONDS + 10)
        assert store.claim(["a/0"], ME).denied == {"a/0"}
        monkeypatch.setattr(stores.time, "time", lambda: now + 2 * stores.CLAIM_SECONDS)
        assert store.claim(["a/0"], ME).granted == {"a/0"}

    def test_two_processes_never_claim_the_same_key(self, path: Path) -> None:
        code = """
import json, sys
from pathlib import Path
from hardneg.llm.engine.store import this_process
from hardneg.llm.engine.store import ReplyStore
ours = []
with ReplyStore(Path(sys.argv[1])) as store:
    for start in range(0, 300, 3):
        ours += store.claim([f"{key}/0" for key in range(start, start + 3)], f"{this_process()}|0").granted
    print(json.dumps(ours), flush=True)
    sys.stdin.read()
"""
        command = [sys.executable, "-c", code, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        granted_keys = [json.loads(process.stdout.readline()) for process in processes]
        for process in processes:
            process.communicate("")
        assert sorted(granted_keys[0] + granted_keys[1]) == sorted(f"{key}/0" for key in range(300))


class TestFile:
    def test_threads_share_a_store(self, store: ReplyStore) -> None:
        def work(first: int) -> None:
            for row in range(first, 200, 4):
                save(store, f"{row}/0")

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 200

    @pytest.mark.parametrize("content", [b"hello, this is no database" * 100, b"SQLite format 3\x00" + b"x" * 5000])
    def test_other_file_is_refused_and_unchanged(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "s").write_bytes(content)
        with pytest.raises(LlmError, match=r"/s: .*store of replies"):
            ReplyStore(tmp_path / "s")
        assert (tmp_path / "s").read_bytes() == content

    def test_other_database_is_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "s") as db:
            db.execute("CREATE TABLE replies (x)")
        db.close()
        with pytest.raises(LlmError, match=r"/s is a database.*store of replies"):
            ReplyStore(tmp_path / "s")

    def test_other_layout_is_refused(self, path: Path) -> None:
        ReplyStore(path).close()
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 7")
        db.close()
        with pytest.raises(LlmError, match=r"sqlite.* layout 7\b.* 2\b"):
            ReplyStore(path)

    def test_invalid_path_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LlmError, match="unable to open"):
            ReplyStore(tmp_path)
        (tmp_path / "file").write_text("x")
        with pytest.raises(LlmError, match=r"file/s: .*store of replies"):
            ReplyStore(tmp_path / "file" / "s")

    def test_damaged_file_is_an_llm_error(self, path: Path) -> None:
        with ReplyStore(path) as opened:
            opened.save([StoredReply(f"{row}/0", REQUEST, REPLY) for row in range(500)], "m")
        data = bytearray(path.read_bytes())
        data[8192:-4096] = os.urandom(len(data) - 12288)
        path.write_bytes(data)
        with ReplyStore(path) as opened, pytest.raises(LlmError, match=r"sqlite.*damaged"):
            opened.known([f"{row}/0" for row in range(500)])

    def test_permanent_lock_is_an_llm_error(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stores, "BUSY_SECONDS", 0.05)
        with ReplyStore(path) as opened:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LlmError, match=r"sqlite.*0\.05 s"):
                save(opened, "a/0")
            other.close()
            save(opened, "a/0")

    def test_closed_store_is_an_llm_error(self, store: ReplyStore) -> None:
        store.close()
        with pytest.raises(LlmError, match=r"sqlite.*closed"):
            store.known(["a/0"])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("probabilities", text) for text in ("garbage", '{"a": 1}', "[null]")),
        ("prompt_tokens", "garbage"),
        ("seconds", "garbage"),
        ("seconds", "9e999"),
        ("answer_tokens", -5),
        ("text", "another answer"),
        ("finish", "length"),
        ("sha256", None),
    ],
)
def test_a_damaged_row_is_named_with_its_file(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "replies.sqlite"
    with ReplyStore(path) as store:
        request = Request((Message("user", "a"),), max_tokens=8)
        store.save([StoredReply("k/0", request, Reply("x", Usage(1, 1)))], "model")
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE replies SET {column} = ?", (value,))
    with ReplyStore(path) as store, pytest.raises(LlmError, match=r"replies\.sqlite: the reply k/0 is damaged"):
        store.known()


def test_a_store_without_checksums_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    request, reply = Request((Message("user", "a"),), max_tokens=8), Reply("caf\u00e9 \ud800", Usage(1, 1))
    with ReplyStore(path) as store:
        store.save([StoredReply("k/0", request, reply)], "model")
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE replies RENAME TO later")
        [schema] = [text for text in stores.TABLES.split(";\n") if "TABLE replies" in text]
        db.execute(schema[: schema.index(",              -- the request")] + ")")
        columns = [row[1] for row in db.execute("PRAGMA table_info(later)") if row[1] != "sha256"]
        db.execute(f"INSERT INTO replies SELECT {', '.join(columns)} FROM later")
        db.execute("DROP TABLE later")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with ReplyStore(path) as store:
        assert store.known() == {"k/0": reply}
        store.save([StoredReply("k/1", request, reply)], "model")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE replies SET text = 'other' WHERE key = 'k/0'")
    db.close()
    with ReplyStore(path) as store:
        assert store.known(["k/1"]) == {"k/1": reply}
        with pytest.raises(LlmError, match="k/0 is damaged"):
            store.known()
