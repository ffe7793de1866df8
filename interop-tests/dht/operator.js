'use strict'
// node dht/operator.js <pinned|latest> [--nodes N] [--port P] [--bootstrap host:port,...]
// A private DHT on loopback: a bootstrap node (or, with --bootstrap, none) and N persistent nodes in one process.

const stack = require('../peer/stack')(process.argv[2])
const { parse, nodes } = require('../peer/flags')

async function main () {
  const flags = parse(process.argv.slice(3))
  const options = { ephemeral: false, firewalled: false, host: '127.0.0.1' }
  let bootstrap = nodes(flags.bootstrap)
  const all = []
  const add = async (more) => {
    const node = new stack.DHT({ ...options, ...more, bootstrap })
    await node.fullyBootstrapped()
    all.push(node)
    return node
  }
  if (bootstrap.length === 0) {
    const first = await add({ port: Number(flags.port || 0) })
    bootstrap = [{ host: '127.0.0.1', port: first.address().port }]
  }
  for (let i = 0; i < Number(flags.nodes || 4); i++) await add({ port: 0 })
  console.log('DHT ready at ' + bootstrap[0].host + ':' + bootstrap[0].port + ', ' + all.length + ' nodes')
}

main()
process.on('SIGTERM', () => process.exit(0))
process.stdin.on('end', () => process.exit(0)).resume()
