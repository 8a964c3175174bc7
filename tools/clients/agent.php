<?php
// What the PHP agents share; README.md tells what an agent does.
//
// An agent gives `run` its version and a function that connects: it takes a mode
// and a list of [host, port, weight], and returns two functions: one that stores
// a string under a key and says whether it could, and one that gets it, or null.

const LIMIT_SECONDS = 120;

function run(string $version, callable $connect): void
{
    global $argv;
    // Without a handler the signal ends the process.
    pcntl_alarm(LIMIT_SECONDS);
    if ($argv[1] === 'version') {
        echo "$version\n";
        return;
    }
    [, $job, $mode, $path] = $argv;
    $servers = array_map('parsed', array_slice($argv, 4));
    [$store, $fetch] = $connect($mode, $servers);
    $lines = file($path, FILE_IGNORE_NEW_LINES);
    $items = array_map(fn($line) => explode("\t", $line), $lines);
    $report = match ($job) {
        'write' => write($store, $items),
        'read' => read($fetch, $items),
    };
    echo json_encode($report), "\n";
}

function version_of(string $extension): string
{
    $version = phpversion($extension);
    if ($version === false) {
        fwrite(STDERR, "the extension $extension is missing\n");
        exit(1);
    }
    return $version;
}

function parsed(string $server): array
{
    [$address, $weight] = explode('*', "$server*1");
    [$host, $port] = explode(':', $address);
    return [$host, (int) $port, (int) $weight];
}

function unknown(string $mode): never
{
    fwrite(STDERR, "no mode $mode\n");
    exit(1);
}

function write(callable $store, array $items): array
{
    $refused = [];
    foreach ($items as [$key, $value]) {
        if (!$store($key, $value)) {
            $refused[] = $key;
        }
    }
    return [
        'stored' => count($items) - count($refused),
        'refused' => count($refused),
        'first' => array_map('bin2hex', array_slice($refused, 0, 5)),
    ];
}

function read(callable $fetch, array $items): array
{
    $counts = ['equal' => 0, 'different' => 0, 'missing' => 0];
    $bad = [];
    foreach ($items as [$key, $value]) {
        $found = $fetch($key);
        if ($found === $value) {
            $counts['equal']++;
            continue;
        }
        $counts[$found === null ? 'missing' : 'different']++;
        $bad[] = $key;
    }
    return $counts + ['first' => array_map('bin2hex', array_slice($bad, 0, 5))];
}
