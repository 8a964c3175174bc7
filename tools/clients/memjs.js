'use strict';
// The package memjs of npm, which speaks the binary protocol.

const agent = require('./agent');
const memjs = require('memjs');
const { version } = require('memjs/package.json');

function connect(mode, servers) {
  if (mode !== 'default') agent.fail(`no mode ${mode}`);
  const addresses = servers.map(({ address }) => address).join(',');
  const client = memjs.Client.create(addresses, { timeout: 10, conntimeout: 10 });
  return {
    store: (key, value) => client.set(key, value, { expires: 0 }),
    fetch: async (key) => {
      const { value } = await client.get(key);
      return value === null ? null : value.toString();
    },
    close: () => client.close(),
  };
}

agent.run(`memjs ${version}`, connect);
