'use strict'
// `intercom demo --once`: it shows what it promises, and ends by itself.

const assert = require('assert')
const { test } = require('node:test')
const { Process } = require('../lib/process')
const { RUST, reporting } = require('../lib/kinds')

test('the demo exchanges messages, settles expenses, and ends', { timeout: 60_000 }, async () => {
  const demo = new Process('demo', [...RUST, 'demo', '--once'])
  await reporting(() => [demo], async () => {
    assert.deepStrictEqual(await demo.exited, { code: 0, signal: null })
    const lines = demo.log.map((line) => line.replace(/^ *\d+ ms {2}/, ''))
    for (const line of [
      '[0000intercom] alice -> bob: Hello Bob, nobody is between us.',
      '[0000intercom] bob -> alice: Hello Alice, I see you.',
      '[trip] alice paid 30 for dinner, split between alice,bob',
      '[trip] both ledgers settle by carol -> alice: 23.00, bob -> alice: 14.00'
    ]) assert.ok(lines.includes(line), line)
    assert.ok(!lines.some((line) => line.includes('http')), 'no page that is gone')
  })
})
