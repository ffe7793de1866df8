'use strict'
// The tutorial of the original, end to end: two peers, two pages.

const assert = require('assert')
const fs = require('fs')
const { test, before, after } = require('node:test')
const { Stage, TOKEN } = require('../lib/stage')
const { connect, join, say, addExpense, ask, owed } = require('../lib/steps')
const { picture } = require('../lib/browser')
const { HAS_ORIGINAL, reporting } = require('../../lib/kinds')

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

const pairs = [['rust', 'rust']]
if (HAS_ORIGINAL) pairs.push(['rust', 'original'], ['original', 'rust'], ['original', 'original'])

for (const [first, second] of pairs) {
  test(`two pages, a=${first} b=${second}`, { timeout: 240_000 }, () => reporting(() => stage.peers, async () => {
    // A room of their own: who comes late to a room of the pair before gets its expenses from the Rust peers in it.
    const room = `trip-${first}-${second}`
    const names = { a: `a-${first}-${second}`, b: `b-${first}-${second}` }
    // Pages are served by a Rust peer, also to those whose bridge is an original's.
    const host = await stage.peer('page')
    const a = await stage.peer(names.a, { kind: first, extra: ['--sidechannels', room] })
    const b = await stage.peer(names.b, { kind: second, extra: ['--sidechannels', room] })
    await a.bridge.connected(2)

    // Connect, join, subscribe.
    const left = await stage.browser.page()
    await left.goto(first === 'rust' ? a.ui : host.ui)
    if (first === 'rust') assert.strictEqual(await left.getByLabel('Address of the bridge').inputValue(), a.bridgeUrl)
    await connect(left, { url: first === 'rust' ? null : a.bridgeUrl, token: TOKEN })
    await left.getByRole('heading', { name: room, level: 1 }).waitFor()
    const right = await stage.page(host, { of: b, room })
    const lab = room + '-later'
    await join(left, lab)
    await join(right, lab)
    await left.getByRole('button', { name: room, exact: true }).click()
    await right.getByRole('button', { name: room, exact: true }).click()

    // Chat.
    await say(left, 'hello team')
    await right.getByRole('log', { name: 'Messages' }).getByText('hello team').waitFor()
    await say(right, 'hello <b>alice</b> & co.')
    await left.getByRole('log', { name: 'Messages' }).getByText('hello <b>alice</b> & co.').waitFor()

    // Expenses, by the form and by the assistant.
    await addExpense(left, { payer: 'alice', amount: '30', split: 'alice,bob', note: 'dinner' })
    for (const page of [left, right]) await owed(page, ['alice +15.00', 'bob −15.00'], ['bob pays alice 15.00'])
    await ask(right, 'add bob 10 split alice,bob note snacks')
    for (const page of [left, right]) await owed(page, ['alice +10.00', 'bob −10.00'], ['bob pays alice 10.00'])
    assert.match(await left.getByRole('img', { name: /Who pays whom/ }).innerHTML(), /bob pays alice 10\.00/)
    await ask(left, 'balance')
    await left.getByRole('log', { name: 'Answers' }).getByText('bob -> alice: 10.00').waitFor()
    await picture(left, `tutorial-${first}-${second}`)

    // Export.
    await left.getByRole('button', { name: 'Export', exact: true }).click()
    const data = left.getByLabel('What is exported')
    await data.getByText('- bob -> alice: 10.00').waitFor()
    await left.getByRole('button', { name: 'CSV' }).click()
    await data.getByText('bob,alice,10.00').waitFor()
    const [saved] = await Promise.all([left.waitForEvent('download'), left.getByRole('button', { name: 'Save', exact: true }).click()])
    assert.strictEqual(saved.suggestedFilename(), room + '-expenses.csv')
    assert.strictEqual(fs.readFileSync(await saved.path(), 'utf8'), await data.textContent())
    await left.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
    await ask(right, 'export csv')
    await right.getByRole('log', { name: 'Answers' }).getByText('bob,alice,10.00').waitFor()

    // Persisting takes a contract, which our peer does not have: the page says what the peer says. An original, alone on its
    // network, looks a minute for validators.
    if (first === 'rust') {
      await left.getByRole('button', { name: 'Persist' }).click()
      await left.locator('#toast-text').getByText('Peer is not writable.').waitFor()
      await left.getByRole('button', { name: 'Dismiss' }).click()
    }

    // Restoring from what the peer itself keeps changes nothing of what is there.
    await left.getByRole('button', { name: 'Restore' }).click()
    await left.locator('#toast-text').getByText(/^Restored from what this peer keeps: \d added, 2 in all\.$/).waitFor()
    await owed(left, ['alice +10.00', 'bob −10.00'], ['bob pays alice 10.00'])

    // Another room has a ledger of its own.
    await left.getByRole('button', { name: lab, exact: true }).click()
    await left.getByText('No expenses yet').waitFor()
    await addExpense(left, { payer: 'carol', amount: '1,234.50', split: 'carol, dave, erin', note: '' })
    await owed(left, ['carol +823.00', 'dave −411.50', 'erin −411.50'], ['dave pays carol 411.50', 'erin pays carol 411.50'])
    await right.getByRole('button', { name: new RegExp('^' + lab) }).click()
    await owed(right, ['carol +823.00', 'dave −411.50', 'erin −411.50'], ['dave pays carol 411.50', 'erin pays carol 411.50'])

    // Clear, at both.
    await left.getByRole('button', { name: 'Clear', exact: true }).click()
    await left.getByRole('dialog').getByRole('button', { name: 'Clear' }).click()
    for (const page of [left, right]) await page.getByText('No expenses yet').waitFor()
    await right.getByRole('button', { name: room, exact: true }).click()
    await owed(right, ['alice +10.00', 'bob −10.00'], ['bob pays alice 10.00'])

    // Leave.
    await left.getByRole('button', { name: lab, exact: true }).click()
    await left.getByRole('button', { name: 'Leave' }).click()
    await left.getByRole('button', { name: lab, exact: true }).waitFor({ state: 'detached' })
    const { channels } = await a.bridge.call({ type: 'stats' })
    assert.ok(!channels.includes(lab), 'the peer left')
    assert.deepStrictEqual([left.faults, right.faults], [[], []])
    for (const page of [left, right]) await page.context().close()
  }))
}
