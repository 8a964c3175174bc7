<?php
// The extension memcached, on libmemcached.

require __DIR__ . '/agent.php';

function connect(string $mode, array $servers): array
{
    $options = match ($mode) {
        'default' => [],
        'consistent' => [Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT],
        'ketama-compatible' => [Memcached::OPT_LIBKETAMA_COMPATIBLE => true],
        default => unknown($mode),
    };
    $client = new Memcached();
    $client->setOptions($options + [
        Memcached::OPT_COMPRESSION => false,
        Memcached::OPT_CONNECT_TIMEOUT => 10_000,
        Memcached::OPT_SEND_TIMEOUT => 10_000_000,
        Memcached::OPT_RECV_TIMEOUT => 10_000_000,
    ]);
    $client->addServers($servers);
    $store = fn($key, $value) => $client->set($key, $value);
    $fetch = function ($key) use ($client) {
        $found = $client->get($key);
        return $client->getResultCode() === Memcached::RES_SUCCESS ? $found : null;
    };
    return [$store, $fetch];
}

ob_start();
(new ReflectionExtension('memcached'))->info();
preg_match('/libmemcached (?:library )?version => (\S+)/', ob_get_clean(), $library);
run('php-memcached ' . phpversion('memcached') . " on libmemcached $library[1]", 'connect');
