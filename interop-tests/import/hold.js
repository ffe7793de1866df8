'use strict'
// Keeps a store of JavaScript's open, and appends to its core `held` until it is killed: node hold.js <pinned|latest> <directory>
// Prints the core's key, then its length each time that an append was done.

const path = require('path')
const { createRequire } = require('module')

const [kind, directory] = process.argv.slice(2)
const from = createRequire(path.join(__dirname, '..', kind, 'package.json'))
const Corestore = from('corestore')

async function main () {
  const store = new Corestore(directory)
  const core = store.get({ name: 'held' })
  await core.ready()
  process.stdout.write(core.key.toString('hex') + '\n')
  for (;;) {
    // Some of them large enough for a file of their own.
    await core.append(Array.from({ length: 20 }, (_, i) => Buffer.alloc(i === 7 ? 6000 : 100, core.length + i)))
    process.stdout.write(core.length + '\n')
  }
}

main().catch((error) => {
  process.stderr.write(error.stack + '\n')
  process.exit(1)
})
