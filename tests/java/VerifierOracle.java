import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Properties;
import java.util.Set;
import org.apache.zookeeper.server.quorum.QuorumPeer.QuorumServer;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/**
 * Says what Java makes of server lines and configurations. tests/golden/quorum/verifiers.tsv is its
 * answer to its own first three columns; src/quorum/verifier/tests.rs compares with it.
 *
 * Lines in: kind, text in hexadecimal, sids separated by commas; separated by tabs. Kinds: `server`
 * (one address allowed), `servers` (several), `config`, `sparse` (a configuration whose ids share
 * buckets of a hash map, so that the order of lines depends on its history). Out: the same, then `ok` or `error`, then the
 * text printed again or the message in hexadecimal, then for a configuration with sids whether they
 * are a quorum.
 *
 * Usage: java -Dlog4j2.level=OFF -cp 'lib/*' VerifierOracle.java < in > out
 */
public class VerifierOracle {
    static String hex(String text) {
        StringBuilder out = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            out.append(String.format("%02x", b));
        }
        return out.toString();
    }

    static String unhex(String text) {
        byte[] bytes = new byte[text.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    public static void main(String[] args) throws Exception {
        QuorumPeerConfig.setStandaloneEnabled(true);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] columns = line.split("\t", -1);
            String text = unhex(columns[1]);
            String head = columns[0] + "\t" + columns[1] + "\t" + columns[2] + "\t";
            boolean several = !columns[0].equals("server");
            boolean whole = !columns[0].startsWith("server");
            System.setProperty("zookeeper.multiAddress.enabled", Boolean.toString(several));
            try {
                if (whole) {
                    Properties properties = new Properties();
                    properties.load(new StringReader(text));
                    QuorumVerifier verifier = QuorumPeerConfig.parseDynamicConfig(properties, 3, false, false, null);
                    Set<Long> sids = new HashSet<>();
                    for (String sid : columns[2].split(",")) {
                        if (!sid.isEmpty()) {
                            sids.add(Long.parseLong(sid));
                        }
                    }
                    System.out.println(head + "ok\t" + hex(verifier.toString()) + "\t" + verifier.containsQuorum(sids));
                } else {
                    System.out.println(head + "ok\t" + hex(new QuorumServer(7, text).toString()) + "\t");
                }
            } catch (Exception e) {
                System.out.println(head + "error\t" + hex(String.valueOf(e.getMessage())) + "\t");
            }
        }
    }
}
