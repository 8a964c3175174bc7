'use strict';
// The package memcached of npm.

const agent = require('./agent');
const Memcached = require('memcached');
const { version } = require('memcached/package.json');

function connect(mode, servers) {
  const options = { default: {}, 'hash-ring': { compatibility: 'hash_ring' } }[mode];
  if (options === undefined) agent.fail(`no mode ${mode}`);
  const weights = Object.fromEntries(servers.map(({ address, weight }) => [address, weight]));
  const client = new Memcached(weights, { ...options, timeout: 10000, retries: 0 });
  return {
    store: (key, value) =>
      new Promise((resolve) => {
        client.set(key, value, 0, (error, isStored) => resolve(!error && isStored));
      }),
    fetch: (key) =>
      new Promise((resolve, reject) => {
        client.get(key, (error, value) => {
          if (error) reject(error);
          else resolve(value === undefined ? null : value);
        });
      }),
    close: () => client.end(),
  };
}

agent.run(`node-memcached ${version}`, connect);
