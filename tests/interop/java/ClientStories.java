import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** Stories with the Java client: ClientStories HOST:PORT STORY. Ends with 0 and "ok", or throws. */
public class ClientStories {
    static final int LIMIT_S = 20;
    static String hosts;
    static String root;

    /** A client that notes its events and knows when it is connected. */
    static class Client implements Watcher, AutoCloseable {
        final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        final BlockingQueue<Event.KeeperState> states = new LinkedBlockingQueue<>();
        final ZooKeeper zk;

        Client() throws Exception {
            this(10_000);
        }

        Client(int timeout) throws Exception {
            zk = new ZooKeeper(hosts, timeout, this);
            state(Event.KeeperState.SyncConnected);
        }

        Client(long session, byte[] password) throws Exception {
            zk = new ZooKeeper(hosts, 10_000, this, session, password);
        }

        @Override
        public void process(WatchedEvent event) {
            if (event.getType() == Event.EventType.None) {
                states.add(event.getState());
            } else {
                events.add(event);
            }
        }

        void state(Event.KeeperState wanted) throws Exception {
            Event.KeeperState state;
            do {
                state = states.poll(LIMIT_S, TimeUnit.SECONDS);
                check(state != null, "never " + wanted);
            } while (state != wanted);
        }

        void event(Event.EventType type, String path) throws Exception {
            WatchedEvent event = events.poll(LIMIT_S, TimeUnit.SECONDS);
            check(event != null, "no event " + type + " " + path);
            equal(type, event.getType());
            equal(root + path, event.getPath());
        }

        void noEvent() throws Exception {
            zk.exists(root, false);
            check(events.isEmpty(), "unexpected " + events);
        }

        String create(String path) throws Exception {
            return create(path, CreateMode.PERSISTENT);
        }

        String create(String path, CreateMode mode) throws Exception {
            return zk.create(root + path, bytes("d"), ZooDefs.Ids.OPEN_ACL_UNSAFE, mode);
        }

        @Override
        public void close() throws Exception {
            zk.close();
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object wanted, Object found) {
        check(Objects.equals(wanted, found), "wanted " + wanted + ", found " + found);
    }

    interface Action {
        void run() throws Exception;
    }

    static void fails(KeeperException.Code code, Action action) throws Exception {
        try {
            action.run();
        } catch (KeeperException e) {
            equal(code, e.code());
            return;
        }
        throw new AssertionError("did not fail with " + code);
    }

    static void asyncPipeline() throws Exception {
        try (Client a = new Client()) {
            int count = 2000;
            CountDownLatch done = new CountDownLatch(3 * count);
            AtomicInteger next = new AtomicInteger();
            List<String> wrong = Collections.synchronizedList(new ArrayList<>());
            AsyncCallback.StringCallback created = (rc, path, ctx, name) -> {
                if (rc != 0 || (Integer) ctx != next.getAndIncrement()) {
                    wrong.add("create " + ctx + " " + rc);
                }
                done.countDown();
            };
            AsyncCallback.DataCallback read = (rc, path, ctx, data, stat) -> {
                if (rc != 0 || !new String(data, StandardCharsets.UTF_8).equals("" + ctx)) {
                    wrong.add("get " + ctx + " " + rc);
                }
                done.countDown();
            };
            AsyncCallback.StatCallback set = (rc, path, ctx, stat) -> {
                if (rc != 0 || stat.getVersion() != 1) {
                    wrong.add("set " + ctx + " " + rc);
                }
                done.countDown();
            };
            for (int n = 0; n < count; n++) {
                String path = root + "/n" + n;
                a.zk.create(path, bytes("" + n), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT,
                    created, n);
                a.zk.getData(path, false, read, n);
                a.zk.setData(path, bytes("x"), 0, set, n);
            }
            check(done.await(LIMIT_S, TimeUnit.SECONDS), "unanswered: " + done.getCount());
            check(wrong.isEmpty(), wrong.toString());
            equal(count, a.zk.getAllChildrenNumber(root));
            equal(count, a.zk.getChildren(root, false).size());
        }
    }

    static void watches() throws Exception {
        try (Client a = new Client(); Client b = new Client()) {
            equal(null, a.zk.exists(root + "/n", true));
            b.create("/n");
            a.event(Watcher.Event.EventType.NodeCreated, "/n");
            a.zk.getData(root + "/n", true, null);
            a.zk.getChildren(root + "/n", true);
            b.create("/n/c");
            a.event(Watcher.Event.EventType.NodeChildrenChanged, "/n");
            b.zk.setData(root + "/n", bytes("x"), -1);
            a.event(Watcher.Event.EventType.NodeDataChanged, "/n");
            b.zk.setData(root + "/n", bytes("y"), -1);
            a.noEvent();
            a.zk.getData(root + "/n", true, null);
            a.zk.removeWatches(root + "/n", a, Watcher.WatcherType.Data, false);
            a.event(Watcher.Event.EventType.DataWatchRemoved, "/n");
            b.zk.setData(root + "/n", bytes("z"), -1);
            a.noEvent();
            fails(KeeperException.Code.NOWATCHER, () ->
                a.zk.removeWatches(root + "/n", a, Watcher.WatcherType.Any, false));
        }
    }

    static void persistentWatches() throws Exception {
        try (Client a = new Client(); Client b = new Client()) {
            a.zk.addWatch(root, AddWatchMode.PERSISTENT_RECURSIVE);
            b.create("/x");
            b.create("/x/y");
            b.zk.setData(root + "/x/y", bytes("1"), -1);
            b.zk.delete(root + "/x/y", -1);
            a.event(Watcher.Event.EventType.NodeCreated, "/x");
            a.event(Watcher.Event.EventType.NodeCreated, "/x/y");
            a.event(Watcher.Event.EventType.NodeDataChanged, "/x/y");
            a.event(Watcher.Event.EventType.NodeDeleted, "/x/y");
            a.zk.removeWatches(root, a, Watcher.WatcherType.PersistentRecursive, false);
            a.event(Watcher.Event.EventType.PersistentWatchRemoved, "");
            a.zk.addWatch(root + "/p", AddWatchMode.PERSISTENT);
            b.create("/p");
            b.create("/p/c");
            b.zk.setData(root + "/p", bytes("1"), -1);
            b.zk.setData(root + "/p/c", bytes("1"), -1);
            a.event(Watcher.Event.EventType.NodeCreated, "/p");
            a.event(Watcher.Event.EventType.NodeChildrenChanged, "/p");
            a.event(Watcher.Event.EventType.NodeDataChanged, "/p");
            a.noEvent();
        }
    }

    static void multi() throws Exception {
        try (Client a = new Client()) {
            a.create("/old");
            List<ACL> open = ZooDefs.Ids.OPEN_ACL_UNSAFE;
            List<OpResult> results = a.zk.multi(Arrays.asList(
                Op.check(root + "/old", 0),
                Op.create(root + "/n", bytes("1"), open, CreateMode.PERSISTENT),
                Op.create(root + "/s-", bytes("1"), open, CreateMode.EPHEMERAL_SEQUENTIAL),
                Op.create(root + "/c", bytes("1"), open, CreateMode.CONTAINER),
                Op.setData(root + "/n", bytes("2"), 0),
                Op.delete(root + "/old", -1)));
            equal(root + "/n", ((OpResult.CreateResult) results.get(1)).getPath());
            equal(root + "/s-0000000002", ((OpResult.CreateResult) results.get(2)).getPath());
            equal(1, ((OpResult.SetDataResult) results.get(4)).getStat().getVersion());
            try {
                a.zk.multi(Arrays.asList(
                    Op.setData(root + "/n", bytes("3"), 1),
                    Op.delete(root + "/missing", -1),
                    Op.create(root + "/never", null, open, CreateMode.PERSISTENT)));
                throw new AssertionError("the multi succeeded");
            } catch (KeeperException e) {
                equal(KeeperException.Code.NONODE, e.code());
                List<OpResult> failed = e.getResults();
                equal(0, ((OpResult.ErrorResult) failed.get(0)).getErr());
                equal(-101, ((OpResult.ErrorResult) failed.get(1)).getErr());
                equal(-2, ((OpResult.ErrorResult) failed.get(2)).getErr());
            }
            equal("2", new String(a.zk.getData(root + "/n", false, null), StandardCharsets.UTF_8));
            results = a.zk.multi(Arrays.asList(
                Op.getData(root + "/n"), Op.getChildren(root + "/missing"), Op.getChildren(root)));
            equal("2", new String(((OpResult.GetDataResult) results.get(0)).getData(),
                StandardCharsets.UTF_8));
            equal(-101, ((OpResult.ErrorResult) results.get(1)).getErr());
            equal(3, ((OpResult.GetChildrenResult) results.get(2)).getChildren().size());
        }
    }

    /** A proxy would be needed to cut a connection from outside: the client's own test hook does. */
    static void reconnectSetsWatchesAgain() throws Exception {
        try (Client a = new Client(); Client b = new Client()) {
            for (String path : Arrays.asList("/data", "/children", "/changed", "/kept", "/gone")) {
                a.create(path);
            }
            a.create("/e", CreateMode.EPHEMERAL);
            a.zk.getData(root + "/changed", true, null);
            a.zk.getData(root + "/kept", true, null);
            a.zk.getData(root + "/gone", true, null);
            a.zk.getChildren(root + "/children", true);
            equal(null, a.zk.exists(root + "/created", true));
            equal(null, a.zk.exists(root + "/late", true));
            a.zk.addWatch(root + "/persistent", AddWatchMode.PERSISTENT);
            a.zk.addWatch(root + "/recursive", AddWatchMode.PERSISTENT_RECURSIVE);
            long session = a.zk.getSessionId();
            // Takes the session over, which ends a's connection; a comes back at once.
            Client other = new Client(session, a.zk.getSessionPasswd());
            other.state(Watcher.Event.KeeperState.SyncConnected);
            b.zk.setData(root + "/changed", bytes("x"), -1);
            b.zk.delete(root + "/gone", -1);
            b.create("/children/c");
            b.create("/created");
            List<String> seen = new ArrayList<>();
            for (int n = 0; n < 4; n++) {
                WatchedEvent event = a.events.poll(LIMIT_S, TimeUnit.SECONDS);
                check(event != null, "only " + seen);
                seen.add(event.getType() + " " + event.getPath().substring(root.length()));
            }
            Collections.sort(seen);
            equal(Arrays.asList("NodeChildrenChanged /children", "NodeCreated /created",
                "NodeDataChanged /changed", "NodeDeleted /gone"), seen);
            equal(session, a.zk.getSessionId());
            b.zk.setData(root + "/kept", bytes("x"), -1);
            a.event(Watcher.Event.EventType.NodeDataChanged, "/kept");
            b.create("/late");
            a.event(Watcher.Event.EventType.NodeCreated, "/late");
            b.create("/persistent");
            a.event(Watcher.Event.EventType.NodeCreated, "/persistent");
            b.create("/recursive");
            b.create("/recursive/x");
            a.event(Watcher.Event.EventType.NodeCreated, "/recursive");
            a.event(Watcher.Event.EventType.NodeCreated, "/recursive/x");
            check(b.zk.exists(root + "/e", false) != null, "the ephemeral has gone");
        }
    }

    static void modes() throws Exception {
        try (Client a = new Client()) {
            a.create("/c", CreateMode.CONTAINER);
            Stat stat = new Stat();
            String path = a.zk.create(root + "/ttl-", bytes("x"), ZooDefs.Ids.OPEN_ACL_UNSAFE,
                CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, stat, 100_000);
            equal(root + "/ttl-0000000001", path);
            equal(0L, stat.getEphemeralOwner());
            a.zk.create(root + "/ttl", bytes("x"), ZooDefs.Ids.OPEN_ACL_UNSAFE,
                CreateMode.PERSISTENT_WITH_TTL, stat, 100_000);
            a.create("/e", CreateMode.EPHEMERAL);
            equal(Collections.singletonList(root + "/e"), a.zk.getEphemerals(root));
            fails(KeeperException.Code.NOCHILDRENFOREPHEMERALS, () -> a.create("/e/c"));
            fails(KeeperException.Code.NODEEXISTS, () -> a.create("/c"));
            fails(KeeperException.Code.NOTEMPTY, () -> a.zk.delete(root, -1));
            fails(KeeperException.Code.NONODE, () -> a.zk.getData(root + "/m", false, null));
            fails(KeeperException.Code.BADVERSION, () -> a.zk.setData(root + "/c", null, 5));
            equal(4, a.zk.getAllChildrenNumber(root));
        }
    }

    static void syncAndWhoAmI() throws Exception {
        try (Client a = new Client()) {
            CountDownLatch done = new CountDownLatch(1);
            a.zk.sync(root, (rc, path, ctx) -> {
                if (rc == 0 && path.equals(root)) {
                    done.countDown();
                }
            }, null);
            check(done.await(LIMIT_S, TimeUnit.SECONDS), "no sync");
            a.zk.addAuthInfo("digest", bytes("me:pw"));
            List<String> names = new ArrayList<>();
            for (ClientInfo info : a.zk.whoAmI()) {
                names.add(info.getAuthScheme() + ":" + info.getUser());
            }
            Collections.sort(names);
            equal(Arrays.asList("digest:me", "ip:127.0.0.1"), names);
            a.zk.create(root + "/mine", null, ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            try (Client b = new Client()) {
                fails(KeeperException.Code.NOAUTH, () -> b.zk.getData(root + "/mine", false, null));
            }
            Stat stat = new Stat();
            equal("digest", a.zk.getACL(root + "/mine", stat).get(0).getId().getScheme());
            a.zk.setACL(root + "/mine", Collections.singletonList(
                new ACL(ZooDefs.Perms.ALL, new Id("ip", "127.0.0.0/8"))), stat.getAversion());
            try (Client b = new Client()) {
                equal(null, b.zk.getData(root + "/mine", false, null));
            }
            check(new String(a.zk.getConfig(false, null), StandardCharsets.UTF_8).isEmpty(), "config");
        }
    }

    static void expiredSession() throws Exception {
        try (Client a = new Client(); Client b = new Client()) {
            a.create("/e", CreateMode.EPHEMERAL);
            check(b.zk.exists(root + "/e", true) != null, "the ephemeral");
            // Closing the session from another connection expires it for its first owner.
            Client thief = new Client(a.zk.getSessionId(), a.zk.getSessionPasswd());
            thief.state(Watcher.Event.KeeperState.SyncConnected);
            thief.close();
            b.event(Watcher.Event.EventType.NodeDeleted, "/e");
            a.state(Watcher.Event.KeeperState.Expired);
            fails(KeeperException.Code.SESSIONEXPIRED, () -> a.zk.exists(root, false));
        }
    }

    static void readOnlyCapable() throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(hosts, 10_000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        }, true, new ZKClientConfig());
        check(connected.await(LIMIT_S, TimeUnit.SECONDS), "not connected");
        equal(ZooKeeper.States.CONNECTED, zk.getState());
        zk.create(root + "/n", null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.close();
    }

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        // One JVM for all stories: its start costs more than they do.
        for (int n = 1; n < args.length; n++) {
            root = "/" + args[n] + "-" + System.nanoTime();
            try (Client setup = new Client()) {
                setup.zk.create(root, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            }
            try {
                ClientStories.class.getDeclaredMethod(args[n]).invoke(null);
                System.out.println(args[n] + ": ok");
            } catch (java.lang.reflect.InvocationTargetException e) {
                System.out.println(args[n] + ": failed");
                e.getCause().printStackTrace(System.out);
            }
        }
        System.exit(0);
    }
}
