'use strict'
// The JavaScript packages of one of the installs beside this folder.

const path = require('path')

/** Load the packages of the install `name` ("pinned" or "latest"). */
module.exports = function stack (name) {
  const root = path.join(__dirname, '..', name, 'node_modules')
  const get = (id) => require(path.join(root, id))
  return {
    name,
    DHT: get('hyperdht'),
    Hyperswarm: get('hyperswarm'),
    Protomux: get('protomux'),
    encoding: get('compact-encoding'),
    sodium: get('sodium-native'),
    ws: get('ws'),
    require: get,
    version: (id) => require(path.join(root, id, 'package.json')).version,
    testnet: get('hyperdht/testnet')
  }
}
