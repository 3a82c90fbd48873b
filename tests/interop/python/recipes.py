"""Stories with kazoo, the Python client: recipes.py HOST:PORT STORY

Every story works under a root of its own, waits only with limits, and fails by an exception.
"""

import logging
import sys
import threading
import time
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.barrier import DoubleBarrier
from kazoo.recipe.watchers import ChildrenWatch, DataWatch
from kazoo.security import make_acl, make_digest_acl

LIMIT = 20
HOSTS = ""
ROOT = ""
clients = []


def client(**options):
    """A connected client that ends with the story."""
    options.setdefault("timeout", 8.0)
    new = KazooClient(hosts=HOSTS, **options)
    new.start(timeout=LIMIT)
    clients.append(new)
    return new


def until(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("never came: " + what)
        time.sleep(0.01)


def in_thread(body):
    failed = []

    def run():
        try:
            body()
        except BaseException as error:  # noqa: B902
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join():
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread hangs"
        if failed:
            raise failed[0]

    return join


def lock():
    a, b = client(), client()
    held = a.Lock(ROOT + "/lock", "a")
    assert held.acquire(timeout=LIMIT)
    wanted = b.Lock(ROOT + "/lock", "b")
    assert not wanted.acquire(blocking=False)
    order = []

    def take():
        assert wanted.acquire(timeout=LIMIT)
        order.append("b has it")

    join = in_thread(take)
    until(lambda: len(a.get_children(ROOT + "/lock")) == 2, "two contenders")
    assert held.contenders() == ["a", "b"], held.contenders()
    assert not order
    held.release()
    join()
    wanted.release()
    with a.ReadLock(ROOT + "/rw", "r1"):
        with b.ReadLock(ROOT + "/rw", "r2"):
            pass
        assert not b.WriteLock(ROOT + "/rw").acquire(blocking=False)
    with b.WriteLock(ROOT + "/rw"):
        pass


def lock_passes_on_when_its_holder_dies():
    a, b = client(timeout=2.0), client()
    assert a.Lock(ROOT + "/lock", "a").acquire(timeout=LIMIT)
    wanted = b.Lock(ROOT + "/lock", "b")
    a._connection._socket.close()
    a._stopped.set()
    a._connection.stop()
    assert wanted.acquire(timeout=LIMIT)


def semaphore():
    a, b, c = client(), client(), client()
    first = a.Semaphore(ROOT + "/semaphore", max_leases=2)
    second = b.Semaphore(ROOT + "/semaphore", max_leases=2)
    third = c.Semaphore(ROOT + "/semaphore", max_leases=2)
    assert first.acquire(timeout=LIMIT)
    assert second.acquire(timeout=LIMIT)
    assert not third.acquire(blocking=False)
    first.release()
    assert third.acquire(timeout=LIMIT)


def election():
    leaders = []
    release = {name: threading.Event() for name in "abc"}
    joins = []
    for name in "abc":
        contender = client()
        contest = contender.Election(ROOT + "/election", name)

        def lead(name=name):
            leaders.append(name)
            assert release[name].wait(LIMIT)

        joins.append(in_thread(lambda contest=contest, lead=lead: contest.run(lead)))
        until(lambda n=len(joins): len(contest.contenders()) == n, "the contender")
    until(lambda: leaders, "a leader")
    for n in range(3):
        until(lambda n=n: len(leaders) == n + 1, "the next leader")
        release[leaders[n]].set()
    for join in joins:
        join()
    assert leaders == ["a", "b", "c"], leaders


def counter():
    a, b = client(), client()
    counters = [c.Counter(ROOT + "/counter", default=5) for c in (a, b)]

    def count(which):
        for _ in range(20):
            which += 1

    joins = [in_thread(lambda which=which: count(which)) for which in counters]
    for join in joins:
        join()
    assert counters[0].value == 45, counters[0].value
    counters[1] -= 45
    assert counters[0].value == 0


def queue():
    a, b = client(), client()
    fifo = a.Queue(ROOT + "/queue")
    for n in range(20):
        fifo.put(b"%d" % n)
    other = b.Queue(ROOT + "/queue")
    assert len(other) == 20
    taken = [int(fifo.get() if n % 2 else other.get()) for n in range(20)]
    assert taken == list(range(20)), taken
    assert fifo.get() is None
    locking = a.LockingQueue(ROOT + "/locking")
    locking.put(b"low", 200)
    locking.put(b"high", 1)
    assert locking.get(LIMIT) == b"high"
    assert locking.consume()
    got = []
    consumer = b.LockingQueue(ROOT + "/locking")
    assert consumer.get(LIMIT) == b"low"
    assert consumer.consume()
    join = in_thread(lambda: got.append(consumer.get(LIMIT)))
    locking.put(b"late")
    join()
    assert got == [b"late"]
    assert consumer.consume()


def barrier():
    a, b = client(), client()
    first = a.Barrier(ROOT + "/barrier")
    first.create()
    passed = []
    join = in_thread(lambda: passed.append(b.Barrier(ROOT + "/barrier").wait(LIMIT)))
    assert not passed
    first.remove()
    join()
    assert passed == [True]
    inside = []
    joins = []
    for n in range(3):
        member = client()

        def meet(member=member, n=n):
            double = DoubleBarrier(member, ROOT + "/double", 3)
            double.enter()
            inside.append(n)
            double.leave()

        joins.append(in_thread(meet))
    for join in joins:
        join()
    assert sorted(inside) == [0, 1, 2]


def party():
    a, b = client(), client()
    one, two = a.Party(ROOT + "/party", "one"), b.Party(ROOT + "/party", "two")
    one.join()
    two.join()
    assert sorted(one) == ["one", "two"]
    assert len(two) == 2
    b.stop()
    until(lambda: sorted(one) == ["one"], "the other to leave")
    shallow = a.ShallowParty(ROOT + "/shallow", "me")
    shallow.join()
    assert list(shallow) == ["me"]


def data_watch():
    a, b = client(), client()
    seen = []
    DataWatch(a, ROOT + "/watched", lambda data, stat: seen.append(data))
    assert seen == [None]
    b.create(ROOT + "/watched", b"1")
    until(lambda: seen == [None, b"1"], "the creation")
    for n in range(2, 6):
        b.set(ROOT + "/watched", b"%d" % n)
        until(lambda n=n: seen[-1] == b"%d" % n, "the change")
    b.delete(ROOT + "/watched")
    until(lambda: seen[-1] is None, "the deletion")


def children_watch():
    a, b = client(), client()
    a.ensure_path(ROOT + "/parent")
    seen = []
    ChildrenWatch(a, ROOT + "/parent", lambda children: seen.append(sorted(children)))
    assert seen == [[]]
    for n in range(3):
        b.create("%s/parent/%d" % (ROOT, n), ephemeral=n == 2)
        until(lambda n=n: len(seen[-1]) == n + 1, "the child")
    b.stop()
    until(lambda: seen[-1] == ["0", "1"], "the ephemeral to go")


def persistent_watches():
    a, b = client(), client()
    if not hasattr(a, "add_watch"):
        return
    from kazoo.protocol.states import AddWatchMode, WatcherType

    events = []
    a.add_watch(ROOT, events.append, AddWatchMode.PERSISTENT_RECURSIVE)
    b.create(ROOT + "/x", b"")
    b.create(ROOT + "/x/y", b"")
    b.set(ROOT + "/x/y", b"1")
    b.delete(ROOT + "/x/y")
    until(lambda: len(events) == 4, "four events")
    kinds = [(event.type, event.path[len(ROOT):]) for event in events]
    assert kinds == [
        (EventType.CREATED, "/x"),
        (EventType.CREATED, "/x/y"),
        (EventType.CHANGED, "/x/y"),
        (EventType.DELETED, "/x/y"),
    ], kinds
    a.remove_all_watches(ROOT, WatcherType.ANY)
    b.create(ROOT + "/unseen", b"")
    a.sync(ROOT)
    assert len(events) == 4, events


def tree_cache():
    from kazoo.recipe.cache import TreeCache

    a, b = client(), client()
    a.ensure_path(ROOT + "/cached")
    cache = TreeCache(a, ROOT + "/cached")
    cache.start()
    b.create(ROOT + "/cached/x", b"1")
    b.create(ROOT + "/cached/x/y", b"2")

    def has(path, data):
        found = cache.get_data(ROOT + path)
        return found is not None and found.data == data

    until(lambda: has("/cached/x/y", b"2"), "the new node")
    b.set(ROOT + "/cached/x", b"3")
    until(lambda: has("/cached/x", b"3"), "the change")
    b.delete(ROOT + "/cached/x", recursive=True)
    until(lambda: cache.get_data(ROOT + "/cached/x") is None, "the deletion")
    cache.close()


def transactions():
    a = client()
    a.create(ROOT + "/old", b"")
    good = a.transaction()
    good.check(ROOT + "/old", 0)
    good.create(ROOT + "/new", b"n")
    good.create(ROOT + "/seq-", b"", sequence=True)
    good.set_data(ROOT + "/new", b"m")
    good.delete(ROOT + "/old")
    results = good.commit()
    assert results[0] is True and results[1] == ROOT + "/new", results
    assert results[2] == ROOT + "/seq-0000000002", results
    assert results[3].version == 1 and results[4] is True, results
    bad = a.transaction()
    bad.create(ROOT + "/x", b"")
    bad.delete(ROOT + "/missing")
    bad.create(ROOT + "/y", b"")
    results = bad.commit()
    kinds = [type(result) for result in results]
    assert kinds == [RolledBackError, NoNodeError, RuntimeInconsistency], kinds
    assert not a.exists(ROOT + "/x")


def errors():
    a = client()
    a.create(ROOT + "/n", b"1")
    for action, kind in [
        (lambda: a.create(ROOT + "/n"), NodeExistsError),
        (lambda: a.create(ROOT + "/m/n"), NoNodeError),
        (lambda: a.get(ROOT + "/m"), NoNodeError),
        (lambda: a.set(ROOT + "/n", b"", version=9), BadVersionError),
        (lambda: a.delete(ROOT + "/n", version=9), BadVersionError),
        (lambda: a.delete(ROOT), NotEmptyError),
        (lambda: a.create(ROOT + "/a", acl=[make_acl("nonsense", "x", all=True)]), InvalidACLError),
    ]:
        try:
            action()
        except kind:
            continue
        raise AssertionError("not raised: " + kind.__name__)
    path, stat = a.create(ROOT + "/s", b"abc", include_data=True)
    assert path == ROOT + "/s" and stat.data_length == 3, (path, stat)
    data, stat = a.get(ROOT + "/n")
    assert (data, stat.version, stat.data_length) == (b"1", 0, 1)
    a.set(ROOT + "/n", b"")
    assert a.get(ROOT + "/n")[0] == b""
    big = b"x" * 900_000
    a.set(ROOT + "/n", big)
    assert a.get(ROOT + "/n")[0] == big


def acl_and_auth():
    a, b = client(), client()
    a.add_auth("digest", "user:password")
    mine = [make_digest_acl("user", "password", all=True)]
    a.create(ROOT + "/mine", b"secret", acl=mine)
    for action in (lambda: b.get(ROOT + "/mine"), lambda: b.set(ROOT + "/mine", b"")):
        try:
            action()
        except NoAuthError:
            continue
        raise AssertionError("no auth needed")
    acls, stat = a.get_acls(ROOT + "/mine")
    assert acls == mine and stat.aversion == 0, acls
    b.add_auth("digest", "user:password")
    assert b.get(ROOT + "/mine")[0] == b"secret"
    a.set_acls(ROOT + "/mine", mine + [make_acl("world", "anyone", read=True)], version=0)
    assert client().get(ROOT + "/mine")[0] == b"secret"
    c = client(auth_data=[("digest", "user:password")])
    c.set(ROOT + "/mine", b"changed")
    # Identities come back with a new connection.
    c.restart()
    c.set(ROOT + "/mine", b"again")


def ephemerals_and_session_loss():
    a, b = client(timeout=2.0), client()
    a.create(ROOT + "/e", b"", ephemeral=True)
    assert b.exists(ROOT + "/e").owner_session_id == a.client_id[0]
    gone = threading.Event()
    b.exists(ROOT + "/e", watch=lambda event: gone.set())
    states = []
    a.add_listener(states.append)
    session, password = a.client_id
    # Another client takes the session and closes it: the first one loses it.
    thief = KazooClient(hosts=HOSTS, client_id=(session, password), timeout=2.0)
    thief.start(timeout=LIMIT)
    assert thief.client_id[0] == session
    assert thief.exists(ROOT + "/e")
    thief.stop()
    assert gone.wait(LIMIT)
    until(lambda: KazooState.LOST in states, "the loss")
    until(lambda: states[-1] == KazooState.CONNECTED, "a new session")
    assert a.client_id[0] != session
    a.retry(a.create, ROOT + "/again", b"", ephemeral=True)


def reconnect_keeps_session_and_watches():
    a, b = client(), client()
    a.create(ROOT + "/e", b"", ephemeral=True)
    events = []
    a.get(ROOT + "/e", watch=events.append)
    a.exists(ROOT + "/later", watch=events.append)
    a.get_children(ROOT, watch=events.append)
    session = a.client_id[0]
    states = []
    a.add_listener(states.append)
    a._connection._socket.shutdown(2)
    until(lambda: KazooState.SUSPENDED in states, "the interruption")
    until(lambda: states[-1] == KazooState.CONNECTED, "the reconnection")
    assert a.client_id[0] == session
    assert a.exists(ROOT + "/e")
    # kazoo does not set its watches again: it tells them by a state, and users read anew.
    b.create(ROOT + "/later", b"")
    a.get(ROOT + "/e", watch=events.append)
    b.set(ROOT + "/e", b"x")
    until(lambda: any(event.type == EventType.CHANGED for event in events), "the change")


def pipeline():
    a = client()
    creates = [a.create_async("%s/n-" % ROOT, b"%d" % n, sequence=True) for n in range(1000)]
    paths = [result.get(timeout=LIMIT) for result in creates]
    assert paths == sorted(paths), "creates out of order"
    reads = [a.get_async(path) for path in paths]
    assert [int(result.get(timeout=LIMIT)[0]) for result in reads] == list(range(1000))
    deletes = [a.delete_async(path) for path in paths]
    for result in deletes:
        result.get(timeout=LIMIT)
    assert a.get_children(ROOT) == []


def containers_and_ttl():
    a = client()
    a.ensure_path(ROOT + "/plain")
    try:
        a.create(ROOT + "/c", b"", container=True)
        a.create(ROOT + "/ttl", b"", ttl=100_000)
    except TypeError:
        return  # This kazoo has neither.
    assert a.exists(ROOT + "/c").ephemeralOwner == 0


def commands():
    a = client()
    assert a.command(b"ruok") == "imok"
    assert a.server_version()[:3] == (3, 9, 4), a.server_version()
    assert "Mode: standalone" in a.command(b"srvr")


def chroot():
    a = client()
    a.ensure_path(ROOT + "/chroot")
    b = KazooClient(hosts=HOSTS + ROOT + "/chroot")
    b.start(timeout=LIMIT)
    clients.append(b)
    b.create("/x/y", b"1", makepath=True)
    assert a.get(ROOT + "/chroot/x/y")[0] == b"1"
    assert b.create("/x/seq-", sequence=True) == "/x/seq-0000000001"


def main():
    global HOSTS, ROOT
    HOSTS, story = sys.argv[1:]
    logging.basicConfig(level=logging.ERROR)
    ROOT = "/%s-%s" % (story, uuid.uuid4().hex[:8])
    setup = client()
    setup.create(ROOT, b"")
    try:
        globals()[story]()
    finally:
        for each in clients[1:]:
            each.stop()
            each.close()
    setup.delete(ROOT, recursive=True)
    setup.stop()


main()
