'use strict'
// Makes a store as an Autobase leaves it, two writers' of which this is the first: node make-autobase.js <folder with node_modules> <directory>
// The folder has autobase and corestore (`npm install autobase@7 corestore@7`; no other test needs them). Prints what is in the store
// as make-store.js does. `protocol/corestore-import/tests/data/autobase.json` is what dump.js makes of it.

const path = require('path')
const { createHash } = require('crypto')
const { createRequire } = require('module')

const [modules, directory] = process.argv.slice(2)
const from = createRequire(path.join(path.resolve(modules), 'package.json'))
const Corestore = from('corestore')
const Autobase = from('autobase')

const MESSAGES = 8
const hex = (buffer) => Buffer.from(buffer).toString('hex')
const sha = (text) => createHash('sha256').update(text).digest('hex')
const rest = () => new Promise((resolve) => setTimeout(resolve, 50))

function base (store, key) {
  return new Autobase(store, key, {
    valueEncoding: 'json',
    ackInterval: 0,
    open: (store) => store.get('view', { valueEncoding: 'json' }),
    async apply (nodes, view, host) {
      for (const { value } of nodes) {
        if (value.writer) await host.addWriter(Buffer.from(value.writer, 'hex'), { indexer: true })
        else await view.append(value)
      }
    }
  })
}

async function describe (store, discoveryKey) {
  const core = store.get({ discoveryKey })
  await core.ready()
  const raw = core.session({ raw: true })
  await raw.ready()
  const here = []
  for (let index = 0; index < core.length; index++) {
    if (await core.has(index)) here.push([index, sha(await raw.get(index, { raw: true, wait: false }))])
  }
  await raw.close()
  const { key, length, fork, writable } = core
  const treeHash = length > 0 ? hex(await core.treeHash()) : null
  return { name: hex(key), key: hex(key), length, fork, writable, treeHash, blocks: here.length, digest: sha(JSON.stringify(here)) }
}

async function main () {
  const stores = ['first', 'second'].map((name, index) => {
    return new Corestore(path.join(directory, name), { primaryKey: Buffer.alloc(32, 1 + index), unsafe: true })
  })
  const first = base(stores[0], null)
  await first.ready()
  const second = base(stores[1], first.key)
  await second.ready()
  const [one, two] = stores.map((store, index) => store.replicate(index === 0))
  one.pipe(two).pipe(one)
  await first.append({ writer: hex(second.local.key) })
  while (!second.writable) {
    await second.update()
    await rest()
  }
  for (let number = 0; number < MESSAGES; number++) {
    await first.append({ number, by: 'first' })
    await second.append({ number, by: 'second' })
    if (number % 3 > 0) continue
    for (const base of [first, second, first]) {
      await base.update()
      await base.ack()
    }
  }
  await rest()
  await first.update()
  await first.append({ number: MESSAGES, by: 'first' })
  await first.update()

  const cores = []
  for await (const discoveryKey of stores[0].storage.createDiscoveryKeyStream()) cores.push(await describe(stores[0], discoveryKey))
  const view = []
  for (let index = 0; index < first.view.length; index++) view.push(await first.view.get(index))
  const about = cores.find(({ key }) => key === hex(first.view.key))
  about.name = 'view'
  about.view = view
  console.log(JSON.stringify({ primaryKey: hex(stores[0].primaryKey), cores }, null, 1))
  await Promise.all([first.close(), second.close()])
  process.exit(0)
}

main().catch((error) => {
  process.stderr.write(error.stack + '\n')
  process.exit(1)
})
