// spymemcached; README.md tells what an agent does.

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

import net.spy.memcached.ConnectionFactory;
import net.spy.memcached.DefaultConnectionFactory;
import net.spy.memcached.KetamaConnectionFactory;
import net.spy.memcached.MemcachedClient;

final class Spymemcached {
    private static final int LIMIT_SECONDS = 120;

    private record Item(String key, String value) {}

    public static void main(String[] arguments) {
        endInTime();
        try {
            run(arguments);
        } catch (Exception error) {
            // The client's threads would go on.
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void run(String[] arguments) throws Exception {
        if (arguments[0].equals("version")) {
            // The archive's manifest tells no version; Debian's package does.
            System.out.println("spymemcached of Debian on Java " + System.getProperty("java.version"));
            return;
        }
        // The library logs every connection at this level.
        System.setProperty("net.spy.log.LoggerImpl", "net.spy.memcached.compat.log.SunLogger");
        java.util.logging.Logger.getLogger("net.spy").setLevel(java.util.logging.Level.SEVERE);
        String job = arguments[0];
        List<InetSocketAddress> servers = new ArrayList<>();
        for (String server : Arrays.asList(arguments).subList(3, arguments.length)) {
            int colon = server.lastIndexOf(':');
            int port = Integer.parseInt(server.substring(colon + 1));
            servers.add(new InetSocketAddress(server.substring(0, colon), port));
        }
        MemcachedClient client = new MemcachedClient(factory(arguments[1]), servers);
        List<Item> items = Files.readAllLines(Path.of(arguments[2])).stream()
            .map(line -> line.split("\t"))
            .map(parts -> new Item(parts[0], parts[1]))
            .collect(Collectors.toList());
        switch (job) {
            case "write" -> write(client, items);
            case "read" -> read(client, items);
            default -> throw new IllegalArgumentException("no job " + job);
        }
        client.shutdown(10, TimeUnit.SECONDS);
    }

    private static ConnectionFactory factory(String mode) {
        return switch (mode) {
            case "default" -> new DefaultConnectionFactory() {
                @Override
                public long getOperationTimeout() {
                    return 10_000;
                }
            };
            case "ketama" -> new KetamaConnectionFactory() {
                @Override
                public long getOperationTimeout() {
                    return 10_000;
                }
            };
            default -> throw new IllegalArgumentException("no mode " + mode);
        };
    }

    private static void endInTime() {
        new Timer(true).schedule(new TimerTask() {
            @Override
            public void run() {
                System.err.println("out of time");
                Runtime.getRuntime().halt(1);
            }
        }, LIMIT_SECONDS * 1000L);
    }

    private static void write(MemcachedClient client, List<Item> items) throws Exception {
        List<String> refused = new ArrayList<>();
        for (Item item : items) {
            if (!client.set(item.key(), 0, item.value()).get(10, TimeUnit.SECONDS)) {
                refused.add(item.key());
            }
        }
        System.out.printf("{\"stored\": %d, \"refused\": %d, \"first\": %s}%n",
            items.size() - refused.size(), refused.size(), first(refused));
    }

    private static void read(MemcachedClient client, List<Item> items) {
        int different = 0;
        int missing = 0;
        List<String> bad = new ArrayList<>();
        for (Item item : items) {
            Object found = client.get(item.key());
            if (item.value().equals(found)) {
                continue;
            }
            if (found == null) {
                missing++;
            } else {
                different++;
            }
            bad.add(item.key());
        }
        System.out.printf("{\"equal\": %d, \"different\": %d, \"missing\": %d, \"first\": %s}%n",
            items.size() - bad.size(), different, missing, first(bad));
    }

    private static String first(List<String> keys) {
        return keys.stream().limit(5)
            .map(key -> '"' + HexFormat.of().formatHex(key.getBytes(StandardCharsets.UTF_8)) + '"')
            .collect(Collectors.joining(", ", "[", "]"));
    }
}
