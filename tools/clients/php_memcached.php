<?php
// The extension memcached, on libmemcached.

require __DIR__ . '/agent.php';

const PREFIX = 'app1:';

function connect(string $mode, array $servers): array
{
    $options = match ($mode) {
        'default' => [],
        'consistent' => [Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT],
        'ketama-compatible', 'ketama-compatible-one-by-one' => [
            Memcached::OPT_LIBKETAMA_COMPATIBLE => true,
        ],
        // The second takes back a part of the first.
        'ketama-then-consistent' => [
            Memcached::OPT_LIBKETAMA_COMPATIBLE => true,
            Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT,
        ],
        'ketama-compatible-prefix' => [
            Memcached::OPT_LIBKETAMA_COMPATIBLE => true,
            Memcached::OPT_PREFIX_KEY => PREFIX,
        ],
        default => unknown($mode),
    };
    $client = new Memcached();
    $client->setOptions($options + [
        Memcached::OPT_COMPRESSION => false,
        Memcached::OPT_CONNECT_TIMEOUT => 10_000,
        Memcached::OPT_SEND_TIMEOUT => 10_000_000,
        Memcached::OPT_RECV_TIMEOUT => 10_000_000,
    ]);
    if (str_ends_with($mode, '-one-by-one')) {
        // Calls a socket by another name than addServers does.
        foreach ($servers as $server) {
            $client->addServer(...$server);
        }
    } else {
        $client->addServers($servers);
    }
    // The extension puts it before the keys itself.
    $prefix_length = str_ends_with($mode, '-prefix') ? strlen(PREFIX) : 0;
    $store = fn($key, $value) => $client->set(substr($key, $prefix_length), $value);
    $fetch = function ($key) use ($client, $prefix_length) {
        $found = $client->get(substr($key, $prefix_length));
        return $client->getResultCode() === Memcached::RES_SUCCESS ? $found : null;
    };
    return [$store, $fetch];
}

ob_start();
(new ReflectionExtension('memcached'))->info();
preg_match('/libmemcached (?:library )?version => (\S+)/', ob_get_clean(), $library);
run('php-memcached ' . version_of('memcached') . " on libmemcached $library[1]", 'connect');
