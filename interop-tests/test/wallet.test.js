'use strict'
// Identities move between JavaScript's wallet and the Rust program, both ways, as a file and as words; and what the program makes by
// itself at its first start, its own identity and that of the settlement network, JavaScript's wallet reads.

const { describe, test, before } = require('node:test')
const assert = require('node:assert/strict')
const { execFileSync } = require('child_process')
const fs = require('fs')
const path = require('path')
const { Peer, freePort, reporting, stores, ROOT, RUST } = require('../lib/kinds')
const { wanted } = require('../lib/settings')

const PASSWORD = 'öffne dich'
const MADE = 'wallet: what the program makes'
const FILE = 'wallet: a file with and without a password'
const WORDS = 'wallet: words, and a path'

let next = 0
const place = () => fs.mkdtempSync(path.join(stores, 'wallet-' + next++ + '-'))
const keys = (cwd, args, input = '') => execFileSync(RUST[0], [...RUST.slice(1), 'keys', ...args], { cwd, input, encoding: 'utf8' })

/** Everything that a wallet of JavaScript knows, as text. */
const known = (wallet) => ({
  publicKey: wallet.publicKey.toString('hex'),
  secretKey: wallet.secretKey.toString('hex'),
  address: wallet.address,
  mnemonic: wallet.mnemonic,
  derivationPath: wallet.derivationPath
})

describe('wallet', { concurrency: 1 }, () => {
  let Wallet
  before(async () => {
    Wallet = (await import(path.join(ROOT, 'wallet', 'node_modules', 'trac-wallet', 'index.js'))).default
  })

  /** The wallet of JavaScript in a file. */
  const read = async (file, password = null) => {
    const wallet = new Wallet()
    await wallet.ready
    wallet.importFromFile(file, password)
    return known(wallet)
  }

  /** A wallet of JavaScript, new or from words. */
  const make = async (mnemonic = null, derivationPath = null) => {
    const wallet = new Wallet()
    await wallet.ready
    await wallet.generateKeyPair(mnemonic, derivationPath)
    return wallet
  }

  if (wanted(FILE)) {
    test(FILE, async () => {
      for (const password of [null, Buffer.from(PASSWORD)]) {
        const cwd = place()
        if (password) fs.writeFileSync(path.join(cwd, 'password'), password)
        const given = password ? ['--password-file', 'password'] : []
        const wallet = await make()
        wallet.exportToFile(path.join(cwd, 'js.json'), password)
        keys(cwd, ['import', 'js.json', ...given])
        const shown = keys(cwd, ['show'])
        assert.ok(shown.includes(wallet.address) && shown.includes(wallet.publicKey.toString('hex')), shown)
        keys(cwd, ['export', 'back.json', ...given])
        assert.deepEqual(await read(path.join(cwd, 'back.json'), password), known(wallet))
        // The store's own file is one of JavaScript's, too.
        assert.deepEqual(await read(path.join(cwd, 'stores', 'peer', 'db', 'keypair.json')), known(wallet))
      }
    })
  }

  if (wanted(WORDS)) {
    test(WORDS, async () => {
      for (const derivationPath of [null, "m/918'/0'/0'/7'"]) {
        const cwd = place()
        const wallet = await make(null, derivationPath)
        keys(cwd, ['import', '--mnemonic-file', '-', ...(derivationPath ? ['--derivation-path', derivationPath] : [])], wallet.mnemonic)
        assert.deepEqual(await read(path.join(cwd, 'stores', 'peer', 'db', 'keypair.json')), known(wallet))
        const words = keys(cwd, ['export', '-', '--mnemonic']).trim()
        assert.deepEqual(known(await make(words, derivationPath)), known(wallet))
      }
    })
  }

  if (wanted(MADE)) {
    test(MADE, async () => {
      const peer = await Peer.start({ kind: 'rust', role: 'new', bootstrap: '127.0.0.1:' + await freePort(), store: 'wallet-new' })
      await reporting(() => [peer], async () => {
        const file = (store) => path.join(stores, store, 'db', 'keypair.json')
        for (const store of [peer.store, peer.store + '-msb']) {
          if (!fs.existsSync(file(store))) await peer.process.line((line) => line.includes('Key pair exported to ' + file(store)), 60_000)
        }
        const [own, settlement] = [await read(file(peer.store)), await read(file(peer.store + '-msb'))]
        assert.equal(own.publicKey, peer.publicKey)
        assert.ok(peer.report().includes(own.address), own.address)
        assert.notEqual(settlement.publicKey, own.publicKey)
        for (const identity of [own, settlement]) {
          assert.equal(identity.mnemonic.split(' ').length, 24)
          assert.deepEqual(known(await make(identity.mnemonic, identity.derivationPath)), identity)
        }
      }).finally(() => peer.kill())
    })
  }
})
