<?php
// The extension memcache (PECL), which has hashing of its own.

require __DIR__ . '/agent.php';

function connect(string $mode, array $servers): array
{
    match ($mode) {
        // What the extension comes with.
        'consistent' => null,
        'consistent-fnv' => ini_set('memcache.hash_function', 'fnv'),
        'standard', 'standard-fnv' => ini_set('memcache.hash_strategy', 'standard'),
        default => unknown($mode),
    };
    if ($mode === 'standard-fnv') {
        ini_set('memcache.hash_function', 'fnv');
    }
    $client = new Memcache();
    foreach ($servers as [$host, $port, $weight]) {
        $client->addServer($host, $port, false, $weight, 10);
    }
    $store = fn($key, $value) => $client->set($key, $value, 0, 0);
    $fetch = function ($key) use ($client) {
        $found = $client->get($key);
        return $found === false ? null : $found;
    };
    return [$store, $fetch];
}

run('php-memcache ' . version_of('memcache'), 'connect');
