'use strict';
// What the JavaScript agents share; README.md tells what an agent does.
//
// An agent gives `run` its version and a function that connects: it takes a mode
// and a list of {address, weight}, and returns an object of three functions:
// `store` (key, value) resolves to whether it could, `fetch` (key) to the value
// or null, and `close` ends all connections.

const fs = require('fs');

const LIMIT_SECONDS = 120;

exports.run = async (version, connect) => {
  const timer = setTimeout(() => exports.fail('out of time'), LIMIT_SECONDS * 1000);
  timer.unref();
  const [job, mode, path, ...servers] = process.argv.slice(2);
  if (job === 'version') {
    console.log(version);
    return;
  }
  const client = connect(mode, servers.map(parsed));
  const lines = fs.readFileSync(path, 'utf8').split('\n').slice(0, -1);
  const items = lines.map((line) => line.split('\t'));
  const jobs = { write, read };
  console.log(JSON.stringify(await jobs[job](client, items)));
  client.close();
};

exports.fail = (message) => {
  console.error(message);
  process.exit(1);
};

function parsed(server) {
  const [address, weight] = server.split('*');
  return { address, weight: Number(weight || 1) };
}

function first(keys) {
  return keys.slice(0, 5).map((key) => Buffer.from(key).toString('hex'));
}

async function write(client, items) {
  const refused = [];
  for (const [key, value] of items) {
    if (!(await client.store(key, value))) refused.push(key);
  }
  return { stored: items.length - refused.length, refused: refused.length, first: first(refused) };
}

async function read(client, items) {
  const counts = { equal: 0, different: 0, missing: 0 };
  const bad = [];
  for (const [key, value] of items) {
    const found = await client.fetch(key);
    if (found === value) {
      counts.equal += 1;
      continue;
    }
    counts[found === null ? 'missing' : 'different'] += 1;
    bad.push(key);
  }
  return { ...counts, first: first(bad) };
}
