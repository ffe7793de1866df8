'use strict'
// Makes a store with JavaScript's corestore, to be imported: node make-store.js <pinned|latest> <directory> [files] [blocks]
// Prints what is in it, one JSON object: the primary key, and of each core what must be there after the import.
//
// `files`: where RocksDB has it. `log` (all in its log, the default), `tables` (in tables, but for the last changes), `compacted` (in
// one table, but for the last changes). With `blocks`, one more core of so many blocks.

const path = require('path')
const fs = require('fs')
const os = require('os')
const { createHash } = require('crypto')
const { createRequire } = require('module')

const [kind, directory, files = 'log', many] = process.argv.slice(2)
const from = createRequire(path.join(__dirname, '..', kind, 'package.json'))
const Corestore = from('corestore')
const Hyperbee = from('hyperbee')
const crypto = from('hypercore-crypto')

const fill = (byte) => Buffer.alloc(32, byte)
const text = (name, index) => Buffer.from(`${name} ${index} `.repeat(1 + (index % 5)))
const blocks = (name, start, end) => Array.from({ length: end - start }, (_, i) => text(name, start + i))
const sha = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')
const hex = (buffer) => Buffer.from(buffer).toString('hex')
const primary = { primaryKey: fill(7), unsafe: true }

/// What is here of a core, raw: a digest of each block by its index, as it is stored.
async function describe (name, core, more = {}) {
  const raw = core.session({ raw: true })
  await raw.ready()
  const here = []
  for (let index = 0; index < core.length; index++) {
    if (!(await core.has(index))) continue
    here.push([index, sha(await raw.get(index, { raw: true, wait: false }))])
  }
  await raw.close()
  return {
    name,
    key: hex(core.key),
    length: core.length,
    fork: core.fork,
    writable: core.writable,
    treeHash: hex(await core.treeHash()),
    blocks: here.length,
    digest: sha(JSON.stringify(here)),
    ...more
  }
}

async function main () {
  const store = new Corestore(directory, primary)
  await store.ready()
  const made = []
  const flush = () => files === 'log' ? null : store.storage.db.flush()
  const add = async (...core) => {
    made.push(core)
    await flush()
  }

  const local = store.get({ name: 'local' })
  await local.ready()
  await local.append(blocks('local', 0, 20))
  for (const block of blocks('local', 20, 37)) await local.append(block)
  await local.setUserData('referrer', Buffer.from('a base'))
  const tx = local.core.storage.write()
  tx.putLocal(Buffer.from([1, 0, 7]), Buffer.from('only here'))
  await tx.flush()
  await add('local', local, { alias: { namespace: hex(store.ns), name: hex(Buffer.from('local')) }, userData: { referrer: hex('a base') } })

  const chat = store.namespace('chat')
  const named = chat.get({ name: 'with\0zero' })
  await named.ready()
  await named.append(['one', '', 'three'])
  await add('named', named, { alias: { namespace: hex(chat.ns), name: hex(Buffer.from('with\0zero')) } })

  const cut = store.get({ name: 'cut' })
  await cut.ready()
  await cut.append(blocks('cut', 0, 10))
  await cut.truncate(6)
  await cut.append(blocks('again', 6, 8))
  await add('cut', cut)

  const emptied = store.get({ name: 'emptied' })
  await emptied.ready()
  await emptied.append(blocks('emptied', 0, 3))
  await emptied.truncate(0)
  await add('emptied', emptied)

  const cleared = store.get({ name: 'cleared' })
  await cleared.ready()
  await cleared.append(blocks('cleared', 0, 20))
  await cleared.clear(5, 9)
  await cleared.clear(0)
  await add('cleared', cleared)

  const large = store.get({ name: 'large' })
  await large.ready()
  await large.append([Buffer.alloc(5000, 'l'), Buffer.alloc(4095, 'm'), Buffer.alloc(20000, 'n')])
  await add('large', large)

  const secret = store.get({ name: 'secret', encryptionKey: fill(9) })
  await secret.ready()
  await secret.append(blocks('secret', 0, 5))
  await add('secret', secret, { encryptionKey: hex(fill(9)), first: hex(await secret.get(0)) })

  const feed = store.get({ name: 'bee' })
  const bee = new Hyperbee(feed, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  const batch = bee.batch()
  for (let index = 0; index < 60; index++) await batch.put('key ' + index, 'value ' + index)
  await batch.flush()
  await bee.put('key 7', 'another')
  await bee.del('key 9')
  await add('bee', feed, { bee: { 'key 7': 'another', 'key 59': 'value 59', 'key 9': null } })

  const drafted = store.get({ name: 'drafted' })
  await drafted.ready()
  await drafted.append(blocks('drafted', 0, 9))
  const draft = drafted.session({ name: 'batch' })
  await draft.ready()
  await draft.append(blocks('draft', 9, 14))
  await drafted.append(blocks('drafted', 9, 11))
  await add('drafted', drafted, { draft: { name: 'batch', length: draft.length, shared: 9, treeHash: hex(await draft.treeHash()) } })

  const keyPair = crypto.keyPair(fill(5))
  const compat = store.get({ key: keyPair.publicKey, keyPair, compat: true })
  await compat.ready()
  await compat.append(blocks('compat', 0, 4))
  await add('compat', compat)

  const old = store.get({ manifest: { version: 0, signers: [{ publicKey: keyPair.publicKey }] }, keyPair })
  await old.ready()
  await old.append(blocks('version 0', 0, 3))
  await add('version 0', old)

  // Cores of another store: some blocks of one, all of another, with a prologue, and one of which only the key is known.
  const there = fs.mkdtempSync(path.join(os.tmpdir(), 'make-store-'))
  const remote = new Corestore(there, { primaryKey: fill(8), unsafe: true })
  const written = remote.get({ name: 'written' })
  await written.ready()
  await written.append(blocks('written', 0, 40))
  const whole = remote.get({ name: 'whole' })
  await whole.ready()
  await whole.append(blocks('whole', 0, 13))
  await whole.truncate(12)
  const streams = [store.replicate(true), remote.replicate(false)]
  streams[0].pipe(streams[1]).pipe(streams[0])
  const sparse = store.get({ key: written.key })
  await sparse.ready()
  for (const index of [3, 7, 8, 9, 39]) await sparse.get(index)
  await add('sparse', sparse)
  const copy = store.get({ key: whole.key })
  await copy.ready()
  await copy.download({ start: 0, end: 12 }).done()
  await add('whole', copy)
  const closed = streams.map((stream) => new Promise((resolve) => stream.on('close', resolve).on('error', () => {}).destroy()))
  await Promise.all(closed)
  await remote.close()
  fs.rmSync(there, { recursive: true })

  const prologue = { hash: await drafted.treeHash(), length: drafted.length }
  const signers = [{ publicKey: keyPair.publicKey }, { publicKey: crypto.keyPair(fill(6)).publicKey }]
  const begun = store.get({ manifest: { version: 1, quorum: 2, signers, prologue } })
  await begun.ready()
  await begun.core.copyPrologue(drafted.state)
  await add('prologue', begun)

  const unknown = store.get({ key: crypto.keyPair(fill(4)).publicKey })
  await unknown.ready()
  await add('unknown', unknown)

  if (many) {
    const core = store.get({ name: 'many' })
    await core.ready()
    for (let index = 0; index < Number(many); index += 1000) {
      await core.append(blocks('many', index, Math.min(index + 1000, Number(many))))
    }
    await add('many', core)
  }

  // Ranges that are deleted after what they are of is in tables.
  if (files === 'tables') await store.storage.db.compactRange()
  await cut.truncate(7)
  await cleared.clear(11, 14)
  await flush()
  if (files === 'compacted') await store.storage.db.compactRange()
  // In the log alone.
  await local.append(['the last'])
  await cleared.clear(17, 18)

  const cores = []
  for (const core of made) cores.push(await describe(...core))
  process.stdout.write(JSON.stringify({ primaryKey: hex(primary.primaryKey), cores }, null, 1) + '\n')
  await store.close()
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write(error.stack + '\n')
  process.exit(1)
})
