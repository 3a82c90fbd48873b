package org.apache.zookeeper.server;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import org.apache.jute.BinaryInputArchive;
import org.apache.jute.BinaryOutputArchive;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.util.SerializeUtils;

/**
 * Runs a script of transactions and watch operations, or loads a snapshot, with Java's DataTree and
 * prints what came of it. src/tree/oracle_tests.rs makes the scripts and prints the same.
 *
 * Usage: TreeOracle run SCRIPT SNAPSHOT-OUT | TreeOracle load SNAPSHOT
 */
public class TreeOracle {
    static List<String> events = new ArrayList<>();

    static class Cnxn implements ServerWatcher {
        final int id;
        Cnxn(int id) {
            this.id = id;
        }
        public void process(WatchedEvent e) {
            events.add(e.getType().getIntValue() + " " + e.getPath() + " - " + id);
        }
        public void process(WatchedEvent e, List<ACL> acl) {
            events.add(e.getType().getIntValue() + " " + e.getPath() + " " + e.getZxid() + ":" + show(acl) + " " + id);
        }
    }

    static String show(List<ACL> acl) {
        StringBuilder text = new StringBuilder();
        for (ACL one : acl) {
            text.append(one.getPerms()).append(one.getId().getScheme());
        }
        return text.toString();
    }

    static void printEvents(PrintStream out) {
        // Watchers of one event come in no order.
        int start = 0;
        while (start < events.size()) {
            String head = events.get(start).substring(0, events.get(start).lastIndexOf(' '));
            int end = start;
            List<String> same = new ArrayList<>();
            while (end < events.size() && events.get(end).substring(0, events.get(end).lastIndexOf(' ')).equals(head)) {
                same.add(events.get(end++));
            }
            Collections.sort(same);
            for (String event : same) {
                out.println("  event " + event);
            }
            start = end;
        }
        events.clear();
    }

    static void printResult(PrintStream out, String indent, DataTree.ProcessTxnResult rc) {
        Stat s = rc.stat;
        String stat = s == null ? "-" : s.getCzxid() + "," + s.getMzxid() + "," + s.getCtime() + "," + s.getMtime() + ","
            + s.getVersion() + "," + s.getCversion() + "," + s.getAversion() + "," + s.getEphemeralOwner() + ","
            + s.getDataLength() + "," + s.getNumChildren() + "," + s.getPzxid();
        out.println(indent + rc.type + " " + rc.err + " " + rc.path + " " + stat);
        if (rc.multiResult != null) {
            for (DataTree.ProcessTxnResult part : rc.multiResult) {
                printResult(out, indent + "  ", part);
            }
        }
    }

    static void printTree(PrintStream out, DataTree tree, boolean loaded) throws Exception {
        out.println("digest " + tree.getTreeDigest() + " nodes " + tree.getNodeCount() + " size "
            + tree.cachedApproximateDataSize() + (loaded ? " acls " + tree.aclCacheSize() : ""));
        out.println("containers " + new TreeSet<>(tree.getContainers()) + " ttls " + new TreeSet<>(tree.getTtls()));
        for (Long session : new TreeSet<>(tree.getSessions())) {
            out.println("session " + session + " " + new TreeSet<>(tree.getEphemerals(session)));
        }
        printNode(out, tree, "");
    }

    static void printNode(PrintStream out, DataTree tree, String path) throws Exception {
        DataNode node = tree.getNode(path);
        byte[] data = node.getData();
        out.println(path + " " + (data == null ? "null" : new String(data, StandardCharsets.UTF_8)) + " "
            + show(tree.getACL(node)) + " " + node.stat.getCzxid() + "," + node.stat.getMzxid() + "," + node.stat.getCtime()
            + "," + node.stat.getMtime() + "," + node.stat.getVersion() + "," + node.stat.getCversion() + ","
            + node.stat.getAversion() + "," + node.stat.getEphemeralOwner() + "," + node.stat.getPzxid() + " "
            + tree.getMaxPrefixWithQuota(path.isEmpty() ? "/" : path));
        for (String child : new TreeSet<>(node.getChildren())) {
            printNode(out, tree, path + "/" + child);
        }
    }

    static String string(DataInputStream in) throws Exception {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    static List<String> strings(DataInputStream in) throws Exception {
        List<String> list = new ArrayList<>();
        for (int i = in.readInt(); i > 0; i--) {
            list.add(string(in));
        }
        return list;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, "UTF-8");
        DataTree tree = new DataTree();
        if (args[0].equals("load")) {
            DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(args[1])));
            tree.deserialize(BinaryInputArchive.getArchive(in), "tree");
            out.println("rest " + in.available());
            printTree(out, tree, true);
            out.flush();
            return;
        }
        out.println("fresh " + tree.getTreeDigest());
        Cnxn[] cnxns = {new Cnxn(0), new Cnxn(1), new Cnxn(2), new Cnxn(3)};
        DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(args[1])));
        while (true) {
            int command;
            try {
                command = in.readInt();
            } catch (EOFException e) {
                break;
            }
            switch (command) {
            case 0: {
                byte[] bytes = new byte[in.readInt()];
                in.readFully(bytes);
                TxnLogEntry entry = SerializeUtils.deserializeTxn(bytes);
                DataTree.ProcessTxnResult rc = tree.processTxn(entry.getHeader(), entry.getTxn());
                printResult(out, "", rc);
                out.println("  " + tree.getTreeDigest() + " " + tree.getNodeCount() + " " + tree.cachedApproximateDataSize()
                    + " " + tree.getEphemeralsCount());
                break;
            }
            case 1: {
                int kind = in.readInt();
                String path = string(in);
                Watcher watcher = cnxns[in.readInt()];
                if (kind == 0) {
                    tree.statNode("/", null);
                    try {
                        tree.statNode(path, watcher);
                    } catch (org.apache.zookeeper.KeeperException e) {
                        // Watches what is not there.
                    }
                } else if (kind == 1) {
                    try {
                        tree.getChildren(path, null, watcher);
                    } catch (org.apache.zookeeper.KeeperException e) {
                        // Not watched.
                    }
                } else {
                    tree.addWatch(path, watcher, kind - 2);
                }
                break;
            }
            case 2: {
                Watcher.WatcherType type = Watcher.WatcherType.fromInt(in.readInt());
                String path = string(in);
                Watcher watcher = cnxns[in.readInt()];
                out.println("remove " + tree.containsWatcher(path, type, watcher) + " " + tree.removeWatch(path, type, watcher));
                break;
            }
            case 3:
                tree.removeCnxn(cnxns[in.readInt()]);
                break;
            case 4: {
                long zxid = in.readLong();
                tree.setWatches(zxid, strings(in), strings(in), strings(in), strings(in), strings(in), cnxns[in.readInt()]);
                break;
            }
            default:
                throw new IllegalStateException("command " + command);
            }
            printEvents(out);
            out.println("  watches " + tree.getWatchCount() + " " + tree.getWatchesSummary().getNumConnections() + " " + tree.getWatchesSummary().getNumPaths()
                + " " + tree.getWatchesSummary().getTotalWatches());
        }
        printTree(out, tree, false);
        out.flush();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        tree.serialize(BinaryOutputArchive.getArchive(bytes), "tree");
        Files.write(Paths.get(args[2]), bytes.toByteArray());
    }
}
