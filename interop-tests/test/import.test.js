'use strict'
// Stores of JavaScript, imported: by the folder that its corestore had, whatever RocksDB made of it.
//
// INTEROP_FULL=1 (scripts/interop --full) imports a core of 100,000 blocks too.

const { describe, test } = require('node:test')
const assert = require('node:assert/strict')
const { execFileSync, spawn, spawnSync } = require('child_process')
const { createHash } = require('crypto')
const { createInterface } = require('readline')
const { once } = require('events')
const fs = require('fs')
const path = require('path')
const { ROOT, TARGET, stores } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const FULL = process.env.INTEROP_FULL === '1'
const IMPORT = path.join(TARGET, 'release', 'examples', 'import-store')
const KINDS = ['pinned', 'latest']
const script = (name) => path.join(ROOT, 'import', name)

let next = 0
const place = () => fs.mkdtempSync(path.join(stores, 'import-' + next++ + '-'))

/** A store, and what JavaScript says is in it. */
function make (kind, directory, ...args) {
  const options = { encoding: 'utf8', maxBuffer: 64 << 20 }
  return JSON.parse(execFileSync(process.execPath, [script('make-store.js'), kind, directory, ...args], options))
}

const run = (from, to) => spawnSync(IMPORT, [from, to], { encoding: 'utf8', maxBuffer: 64 << 20 })

function imported (from, to) {
  const { status, stdout, stderr } = run(from, to)
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout)
}

/** Every file below a folder, as a digest. */
function filesOf (folder) {
  const files = fs.readdirSync(folder, { recursive: true }).filter((name) => fs.statSync(path.join(folder, name)).isFile())
  return files.sort().map((name) => [name, createHash('sha256').update(fs.readFileSync(path.join(folder, name))).digest('hex')])
}

function compare (expected, found) {
  assert.equal(found.primaryKey, expected.primaryKey)
  assert.ok(found.whole)
  assert.deepEqual(found.problems, [])
  assert.equal(found.cores.length, expected.cores.length)
  for (const core of expected.cores) {
    const is = found.cores.find((other) => other.key === core.key)
    assert.ok(is, 'the core ' + core.name)
    const drafts = core.draft ? 1 : 0
    const { key, length, fork, writable, blocks, digest } = core
    const treeHash = length > 0 ? core.treeHash : is.treeHash
    const all = { key, length, fork, writable, treeHash, blocks, digest, drafts, refused: null, problems: [] }
    assert.deepEqual(is, all, core.name)
  }
}

async function held (kind, directory) {
  const child = spawn(process.execPath, [script('hold.js'), kind, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async () => (await lines.next()).value
  return { child, key: await line(), line }
}

describe('import', { concurrency: 1 }, () => {
  for (const kind of KINDS) {
    for (const files of ['log', 'tables', 'compacted']) {
      const name = `import: a store of ${kind} in ${files}`
      test(name, { skip: !wanted(name) && 'not asked for' }, () => {
        const folder = place()
        const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')]
        const expected = make(kind, from, files)
        const before = filesOf(from)
        compare(expected, imported(from, to))
        assert.deepEqual(filesOf(from), before)
      })
    }

    const name = `import: a store that ${kind} uses, and after it was killed`
    test(name, { skip: !wanted(name) && 'not asked for' }, async () => {
      const folder = place()
      const from = path.join(folder, 'from')
      const peer = await held(kind, from)
      const ended = once(peer.child, 'exit')
      let length = 0
      try {
        while (length < 2000) length = Number(await peer.line())
        const refused = run(from, path.join(folder, 'early'))
        assert.notEqual(refused.status, 0)
        assert.match(refused.stderr, /InUse/)
        assert.ok(!fs.existsSync(path.join(folder, 'early')))
        for (let more = 0; more < 50; more++) length = Number(await peer.line())
      } finally {
        peer.child.kill('SIGKILL')
        await ended
      }
      const found = imported(from, path.join(folder, 'to'))
      // It may have been in the middle of a write.
      for (const problem of found.problems) assert.match(problem, /cut short/)
      assert.deepEqual(found.cores.map(({ key, refused, problems }) => ({ key, refused, problems })), [{ key: peer.key, refused: null, problems: [] }])
      assert.ok(found.cores[0].length >= length, `${found.cores[0].length} of ${length}`)
      assert.equal(found.cores[0].blocks, found.cores[0].length)

      // JavaScript goes on with its own as if nothing had been.
      const again = await held(kind, from)
      try {
        assert.equal(again.key, peer.key)
        assert.equal(Number(await again.line()), found.cores[0].length + 20)
      } finally {
        again.child.kill('SIGKILL')
        await once(again.child, 'exit')
      }
    })
  }

  const killed = 'import: killed again and again'
  test(killed, { skip: !wanted(killed) && 'not asked for' }, async () => {
    const folder = place()
    const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')]
    const expected = make('latest', from, 'tables', '5000')
    const before = filesOf(from)
    const began = performance.now()
    compare(expected, imported(from, path.join(folder, 'other')))
    const took = performance.now() - began
    const kills = 40
    let ended = 0
    for (let kill = 0; kill < kills; kill++) {
      const child = spawn(IMPORT, [from, to], { stdio: 'ignore' })
      const exit = once(child, 'exit')
      await new Promise((resolve) => setTimeout(resolve, took * kill / kills))
      child.kill('SIGKILL')
      const [code, signal] = await exit
      ended += signal === 'SIGKILL'
      // There is a whole store, or none.
      if (!fs.existsSync(to)) {
        assert.notEqual(code, 0)
        continue
      }
      const again = run(from, to)
      assert.notEqual(again.status, 0)
      assert.match(again.stderr, /TargetExists/)
      const check = spawnSync(IMPORT, ['--check', to], { encoding: 'utf8' })
      assert.equal(check.status, 0, check.stderr)
      fs.rmSync(to, { recursive: true })
    }
    assert.ok(ended > kills / 2, `${ended} of ${kills} were killed before they ended`)
    compare(expected, imported(from, to))
    assert.deepEqual(filesOf(from), before)
  })

  const name = 'import: a core of many blocks'
  test(name, { skip: !(FULL && wanted(name)) && 'with --full' }, () => {
    const folder = place()
    const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')]
    const expected = make('latest', from, 'tables', '100000')
    compare(expected, imported(from, to))
  })
})
