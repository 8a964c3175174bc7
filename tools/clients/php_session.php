<?php
// The session handler of the extension memcached.

require __DIR__ . '/agent.php';

const PREFIX = 'memc.sess.key.';

// Puts values where PHP would put the serialised session.
final class PlainSessions extends SessionHandler
{
    public string $stored = '';
    public string $found = '';

    public function read(string $id): string
    {
        $this->found = parent::read($id);
        return '';
    }

    public function write(string $id, string $data): bool
    {
        return parent::write($id, $this->stored);
    }
}

function connect(string $mode, array $servers): array
{
    if ($mode !== 'default') {
        unknown($mode);
    }
    $path = implode(',', array_map(fn($server) => "$server[0]:$server[1]", $servers));
    foreach ([
        'session.save_handler' => 'memcached',
        'session.save_path' => $path,
        'session.use_cookies' => 0,
        'session.use_strict_mode' => 0,
        'session.cache_limiter' => '',
        'session.lazy_write' => 0,
        'memcached.sess_locking' => 0,
    ] as $name => $value) {
        ini_set($name, $value);
    }
    $handler = new PlainSessions();
    session_set_save_handler($handler, false);
    $store = function ($key, $value) use ($handler) {
        $handler->stored = $value;
        session_id(substr($key, strlen(PREFIX)));
        return session_start() && session_write_close();
    };
    $fetch = function ($key) use ($handler) {
        session_id(substr($key, strlen(PREFIX)));
        session_start();
        session_abort();
        return $handler->found === '' ? null : $handler->found;
    };
    return [$store, $fetch];
}

// Sessions begin before anything is printed.
ob_start();
run('session handler of php-memcached ' . version_of('memcached'), 'connect');
