'use strict'
// The page for whoever uses it: with a keyboard, a screen reader, a telephone, a wrong token, a peer that goes away, bad peers.

const assert = require('assert')
const fs = require('fs')
const path = require('path')
const { test, before, after } = require('node:test')
const { Stage, TOKEN, link } = require('../lib/stage')
const { Process } = require('../../lib/process')
const { connect, join, say, addExpense, owed } = require('../lib/steps')
const { open, picture } = require('../lib/browser')
const { RUST, freePort, stores } = require('../../lib/kinds')

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }

let stage, a, b
before(async () => {
  stage = await Stage.set()
  a = await stage.peer('a', { extra: ['--sidechannels', 'trip,hall'] })
  b = await stage.peer('b', { extra: ['--sidechannels', 'trip,hall'] })
  await b.bridge.connected(1)
})
after(() => stage?.strike())

/** What axe finds wrong with the page as it is. */
async function accessible (page, what) {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate((values) => window.axe.run({ runOnly: { type: 'tag', values } }), RULES)
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.map((node) => node.html).join('\n    ')}`)
  assert.deepStrictEqual(found, [], what)
}

const log = (page) => page.getByRole('log', { name: 'Messages' })
const expense = (event) => ({ app: 'expense_split_v1', type: 'expense_add', event })

test('every state is accessible, light and dark, wide and narrow', { timeout: 120_000 }, async () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const device of [{}, PHONE]) {
      const name = `${colorScheme}-${device.isMobile ? 'phone' : 'wide'}`
      const page = await stage.browser.page({ colorScheme, ...device })
      await page.goto(a.ui)
      await page.getByRole('heading', { name: 'Connect to your peer' }).waitFor()
      await accessible(page, 'form ' + name)
      await picture(page, 'form-' + name)
      await connect(page, { token: 'wrong' })
      await page.getByText('The peer does not accept this token.').waitFor()
      await accessible(page, 'wrong token ' + name)
      await connect(page, { token: TOKEN })
      await page.waitForSelector('#app:not([hidden])')
      const room = 'look-' + name
      await join(page, room)
      await accessible(page, 'empty room ' + name)
      await picture(page, 'empty-' + name)
      await say(page, 'hello')
      await log(page).getByText('hello').waitFor()
      if (device.isMobile) await page.getByRole('button', { name: /^Expenses/ }).click()
      for (const [payer, amount, split, note] of [['alice', '30', 'alice,bob', 'dinner'], ['bob', '186.50', 'alice,bob,carol,dave', 'flat'], ['carol', '9', 'carol', '']]) {
        await addExpense(page, { payer, amount, split, note })
        await page.getByText(`Added ${Number(amount).toFixed(2)} paid by ${payer}.`).first().waitFor()
      }
      await page.locator('#entries tr').nth(2).waitFor()
      await page.getByRole('button', { name: 'Add expense' }).click()
      await page.getByText('How much was it?').waitFor()
      await accessible(page, 'full room ' + name)
      await page.getByLabel('Amount', { exact: true }).fill('7')
      await page.getByText('How much was it?').waitFor({ state: 'hidden' })
      assert.strictEqual(await page.locator('#expense [aria-invalid]').count(), 0)
      await page.getByLabel('Amount', { exact: true }).fill('')
      await page.locator('#ledger').evaluate((ledger) => { ledger.scrollTop = 0 })
      await picture(page, 'full-' + name)
      await page.locator('#ledger').evaluate((ledger) => { ledger.scrollTop = ledger.scrollHeight })
      await picture(page, 'full-end-' + name)
      // The dialogs are the same at every width: two of the four will do.
      if (Boolean(device.isMobile) === (colorScheme === 'light')) {
        await page.context().close()
        continue
      }
      for (const [button, dialog] of [['Join a room', 'join'], ['Export', 'export'], ['Clear', 'clear'], ['Connected', 'peer']]) {
        await page.getByRole('button', { name: button, exact: true }).click()
        await page.locator(`#${dialog}-dialog`).waitFor()
        await accessible(page, dialog + ' ' + name)
        await picture(page, `${dialog}-${name}`)
        await page.keyboard.press('Escape')
        await page.locator(`#${dialog}-dialog`).waitFor({ state: 'hidden' })
      }
      assert.deepStrictEqual(page.faults, [])
      await page.context().close()
    }
  }
})

test('everything works from the keyboard', { timeout: 60_000 }, async () => {
  const page = await stage.browser.page()
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.room || document.activeElement.tagName)
  /** Tabs until the element has the focus. */
  const tabTo = async (id) => {
    for (let presses = 0; presses < 60; presses++) {
      if (await focused() === id) return
      await page.keyboard.press('Tab')
    }
    assert.fail(`Tab never comes to ${id}`)
  }
  await page.goto(a.ui)
  await page.getByRole('heading', { name: 'Connect to your peer' }).waitFor()
  await tabTo('token')
  await page.keyboard.type(TOKEN)
  await page.keyboard.press('Enter')
  await page.waitForSelector('#app:not([hidden])')
  assert.strictEqual(await focused(), 'room-name', 'the focus goes to what is new')
  await tabTo('hall')
  await page.keyboard.press('Enter')
  assert.strictEqual(await focused(), 'hall', 'the focus stays in the list')
  await page.getByRole('heading', { name: 'hall', level: 1 }).waitFor()
  await tabTo('message')
  await page.keyboard.type('one')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('two')
  await page.keyboard.press('Enter')
  assert.strictEqual((await b.bridge.message((m) => m.channel === 'hall')).message, 'one\ntwo')
  for (const [id, text] of [['payer', 'alice'], ['amount', '12'], ['split', 'bob'], ['note', 'tea']]) {
    await tabTo(id)
    await page.keyboard.type(text)
  }
  await page.keyboard.press('Enter')
  await owed(page, ['alice +6.00', 'bob −6.00'], ['bob pays alice 6.00'])
  await tabTo('clear')
  await page.keyboard.press('Enter')
  await page.locator('#clear-dialog').waitFor()
  assert.notStrictEqual(await focused(), 'clear-confirm', 'Enter twice clears nothing')
  await page.keyboard.press('Escape')
  assert.strictEqual(await focused(), 'clear', 'the focus comes back')
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

test('on a telephone nothing is cut off, and everything is big enough to touch', { timeout: 60_000 }, async () => {
  const page = await stage.page(a, { room: 'trip', ...PHONE })
  await addExpenseOn(page)
  // What is said covers neither the name nor the state of the connection, nor the rooms, nor the line to write in.
  const covered = () => page.evaluate(() => {
    const toast = document.querySelector('#toast').getBoundingClientRect()
    const parts = ['header.bar', 'nav.rooms', 'header.title', '.views', '#compose', '.tools'].map((name) => [name, document.querySelector(name).getBoundingClientRect()])
    return parts.filter(([, part]) => part.height && part.top < toast.bottom && toast.top < part.bottom).map(([name]) => name)
  })
  await page.locator('#toast').waitFor()
  await page.locator('#ledger').evaluate((ledger) => { ledger.scrollTop = ledger.scrollHeight })
  assert.deepStrictEqual(await covered(), [])
  await page.getByRole('button', { name: /^Chat/ }).click()
  await page.getByRole('button', { name: /^Theme/ }).click()
  await page.locator('#toast-text').getByText('Theme: light').waitFor()
  assert.deepStrictEqual(await covered(), [])
  // Nor does it shine above a dialog that is opened afterwards; what is said in the dialog does.
  await page.getByRole('button', { name: 'Connected', exact: true }).click()
  await page.locator('#peer-dialog').waitFor()
  assert.strictEqual(await page.locator('#toast').isVisible(), false)
  await page.getByRole('button', { name: 'Copy the address' }).click()
  await page.locator('#toast-text').getByText('Copied.').waitFor()
  await page.keyboard.press('Escape')
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight &&
    [...document.querySelectorAll('.chat, .ledger, .title')].every((part) => part.scrollWidth <= part.clientWidth))
  const small = () => page.evaluate(() => [...document.querySelectorAll('button, input, textarea, summary')]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().height < 32).map((element) => element.outerHTML))
  for (const view of [/^Chat/, /^Expenses/]) {
    await page.getByRole('button', { name: view }).click()
    assert.ok(await fits(), String(view))
    assert.deepStrictEqual(await small(), [], String(view))
  }
  assert.strictEqual(await log(page).isVisible(), false)
  await page.getByRole('button', { name: /^Chat/ }).click()
  assert.strictEqual(await log(page).isVisible(), true)
  assert.strictEqual(await page.locator('#ledger').isVisible(), false)
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

async function addExpenseOn (page) {
  await page.getByRole('button', { name: /^Expenses/ }).click()
  await addExpense(page, { payer: 'a-name-that-is-much-too-long-for-anything', amount: '123456789.01', split: 'bob', note: 'x'.repeat(300) })
  await page.locator('#entries tr').first().waitFor()
}

test('the link connects, and its secret goes nowhere', { timeout: 60_000 }, async () => {
  const page = await stage.page(a, { room: 'hall' })
  await page.getByRole('heading', { name: 'hall', level: 1 }).waitFor()
  assert.strictEqual(page.url(), a.ui + '/')
  assert.strictEqual(await page.evaluate(() => history.length), 2)
  assert.ok(page.urls.every((url) => url.startsWith(a.ui + '/') && !url.includes(TOKEN)), page.urls.join('\n'))
  await page.reload()
  await page.getByRole('heading', { name: 'hall', level: 1 }).waitFor()
  const other = await open(page.context())
  await other.goto(a.ui)
  await other.getByRole('heading', { name: 'Connect to your peer' }).waitFor()
  await page.getByRole('button', { name: 'Connected', exact: true }).click()
  await page.getByRole('button', { name: 'Disconnect' }).last().click()
  await page.getByRole('heading', { name: 'Connect to your peer' }).waitFor()
  await page.reload()
  await page.getByRole('heading', { name: 'Connect to your peer' }).waitFor()
  assert.deepStrictEqual(page.faults.concat(other.faults), [])
  await page.context().close()
})

test('what cannot be connected to is said, in place', { timeout: 60_000 }, async () => {
  const page = await stage.browser.page()
  const nobody = await freePort()
  await page.goto(a.ui)
  const cases = [
    ['ws://127.0.0.1:' + nobody, TOKEN, /No bridge answers/],
    [a.bridgeUrl, 'wrong', /does not accept this token/],
    [a.bridgeUrl, '', /wants a token/],
    ['ws://bridge.example:1', TOKEN, /only connects to this machine/],
    ['ws://127.0.0.1.bridge.example:1', TOKEN, /only connects to this machine/],
    ['http://127.0.0.1:1', TOKEN, /begins with ws/],
    ['nonsense', TOKEN, /That is no address/]
  ]
  for (const [url, token, error] of cases) {
    await connect(page, { url, token })
    await page.locator('#connect .error:visible').getByText(error).waitFor()
    assert.strictEqual(await page.locator('#app').isVisible(), false)
  }
  // A link of somebody else cannot send the page, or its token, elsewhere.
  await page.goto(a.ui + '/#' + new URLSearchParams({ token: TOKEN, bridge: 'ws://bridge.example:1' }))
  await page.getByText('only connects to this machine').waitFor()
  assert.ok(!page.urls.some((url) => url.includes('bridge.example')))
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

test('a reload while the peer starts again forgets nothing', { timeout: 90_000 }, async () => {
  const away = await stage.peer('away')
  // The page is another peer's, so that it is there meanwhile.
  const page = await stage.page(a, { of: away })
  await away.kill({ again: true })
  await page.reload()
  await page.getByText('No bridge answers').waitFor()
  // Nor does a link whose peer is not there yet: its token is out of the address by now.
  const linked = await stage.browser.page()
  await linked.goto(link(a, { of: away }))
  await linked.getByText('No bridge answers').waitFor()
  await stage.peer('away again', { again: away })
  await page.reload()
  await linked.getByRole('button', { name: 'Connect', exact: true }).click()
  for (const one of [page, linked]) {
    await one.getByRole('button', { name: 'Connected', exact: true }).waitFor()
    assert.strictEqual(await one.getByLabel('Token').inputValue(), '')
    assert.deepStrictEqual(one.faults, [])
    await one.context().close()
  }
})

test('a peer that comes back is found again, with its rooms and its ledger', { timeout: 90_000 }, async () => {
  const first = await stage.peer('c')
  const page = await stage.page(first)
  await join(page, 'cellar')
  await addExpense(page, { payer: 'alice', amount: '30', split: 'alice,bob', note: 'dinner' })
  await owed(page, ['alice +15.00', 'bob −15.00'], ['bob pays alice 15.00'])
  await first.kill({ again: true })
  await page.getByText('The connection to your peer was lost.').waitFor()
  await accessible(page, 'connection lost')
  await picture(page, 'lost')
  await say(page, 'into the void')
  await page.getByText('There is no connection; the message waits here until you send it.').first().waitFor()
  assert.strictEqual(await page.getByLabel('Message', { exact: true }).inputValue(), 'into the void')
  const again = await stage.peer('c again', { again: first })
  await page.getByRole('button', { name: 'Connected', exact: true }).waitFor()
  await page.getByRole('heading', { name: 'cellar', level: 1 }).waitFor()
  await owed(page, ['alice +15.00', 'bob −15.00'], ['bob pays alice 15.00'])
  // The peer has forgotten what it joined at run time; the page has not.
  await again.bridge.stats(({ channels }) => channels.includes('cellar'))
  await page.getByRole('button', { name: 'Send' }).click()
  await log(page).getByText('into the void').waitFor()
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

test('whatever peers send stays text', { timeout: 90_000 }, async () => {
  const room = 'zoo'
  const page = await stage.page(a)
  await join(page, room)
  await b.bridge.call({ type: 'join', channel: room })
  const evil = '<img src=x onerror=alert(1)><script>alert(2)</script><style>*{display:none}</style>'
  const send = (message) => b.bridge.send(room, message)
  await send(evil)
  await send({ html: evil })
  await send('\u202Egnp.exe \u0000 \uD800 👩‍👩‍👧')
  for (const odd of [null, 5, true, [], {}, { app: 'expense_split_v1' }, expense(null), expense({}), expense([]), expense('x'),
    expense({ txId: 'odd', payer: {}, amountCents: 'NaN', split: { length: 1e9 }, note: [], ts: 'x' })]) await send(odd)
  await send(expense({ txId: 'evil', payer: evil, amountCents: 100, split: [evil, 'b'], note: evil, ts: 1e300, by: { x: evil } }))
  await send(expense({ txId: 'far', payer: 'far', amountCents: 5e15, split: ['far', '\u202Eevil'], note: '', ts: -8.64e15, by: null }))
  await log(page).getByText(evil).first().waitFor()
  await page.locator('#entries tr').first().waitFor()
  await page.waitForFunction(() => document.querySelectorAll('#entries tr').length === 2)
  assert.strictEqual(await page.locator('#balances').getByText('\ufffdevil').count(), 1, 'a name cannot be turned around')
  assert.strictEqual(await log(page).getByText('added').count(), 2, 'only what the ledger took counts as an expense')
  assert.strictEqual(await page.locator('#entries img, #log img, #settlements img, #picture script, #log script, #log style').count(), 0)
  await accessible(page, 'a room full of attacks')
  await picture(page, 'attacks')
  assert.deepStrictEqual(page.faults, [])

  // A long text is cut until it is asked for.
  await send('long ' + 'x'.repeat(50_000))
  await page.getByRole('button', { name: 'Show all of it' }).click()
  await page.waitForFunction(() => [...document.querySelectorAll('.text')].some((text) => text.textContent.length === 50_005))
  await page.context().close()
})

test('what nobody signed is marked', { timeout: 60_000 }, async () => {
  const event = { txId: 'unsigned', payer: 'alice', amountCents: 3000, split: ['alice', 'bob'], note: 'dinner', ts: 1_700_000_000_000, by: null }
  const store = 'with-a-snapshot'
  fs.mkdirSync(path.join(stores, store), { recursive: true })
  const snapshot = { version: 1, updatedAt: event.ts, rooms: [{ channel: 'old', version: 1, events: [event] }] }
  fs.writeFileSync(path.join(stores, store, 'expense-split.snapshots.json'), JSON.stringify(snapshot) + '\n')
  const peer = await stage.peer('d', { again: { store }, extra: ['--sidechannels', 'old'] })
  const page = await stage.page(peer, { room: 'old' })
  await addExpense(page, { payer: 'bob', amount: '10', split: 'alice', note: 'snacks' })
  await page.locator('#entries tr').nth(1).waitFor()
  const marked = await page.locator('#entries tr', { has: page.getByText('unsigned') }).allInnerTexts()
  assert.strictEqual(marked.length, 1)
  assert.match(marked[0], /dinner/)
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

test('a flood of messages leaves the page small', { timeout: 90_000 }, async () => {
  const page = await stage.page(a, { room: 'trip' })
  // Straight into the page: no peer may send that fast.
  await page.evaluate(async () => {
    const { Room, MAX_MESSAGES } = await import('/room.js')
    const room = new Room('x')
    for (let count = 0; count < 3 * MAX_MESSAGES; count++) room.add({ body: count })
    if (room.messages.length !== MAX_MESSAGES || room.messages[0].body !== 2 * MAX_MESSAGES) throw new Error('too many are kept')
  })
  const shown = await page.locator('#log article').count()
  await Promise.all(Array.from({ length: 40 }, (_, count) => b.bridge.send('trip', 'flood ' + count)))
  await log(page).getByText('flood 39').waitFor()
  assert.strictEqual(await page.locator('#log article').count(), shown + 40)
  await page.context().close()
})

test('messages of other rooms are counted, and those of rooms that are not subscribed do not come', { timeout: 60_000 }, async () => {
  const page = await stage.page(a, { room: 'trip' })
  await b.bridge.send('hall', 'are you there?')
  await page.getByRole('button', { name: 'hall 1 unread' }).click()
  await log(page).getByText('are you there?').waitFor()
  await page.getByRole('button', { name: 'hall', exact: true }).waitFor()
  await page.getByRole('button', { name: 'Subscribed' }).click()
  await page.getByRole('button', { name: 'Subscribe', exact: true }).waitFor()
  await page.getByRole('button', { name: /^trip/ }).click()
  await b.bridge.send('hall', 'not heard')
  await b.bridge.send('trip', 'heard')
  await log(page).getByText('heard', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'hall', exact: true }).click()
  assert.strictEqual(await log(page).getByText('not heard').count(), 0)
  assert.deepStrictEqual(page.faults, [])
  await page.context().close()
})

test('a bridge that tells of changes is not asked for them; one that does not is', { timeout: 60_000 }, async () => {
  for (const tells of [true, false]) {
    const page = await stage.browser.page()
    const asked = []
    await page.clock.install()
    await page.routeWebSocket(a.bridgeUrl, (socket) => {
      const bridge = socket.connectToServer()
      socket.onMessage((text) => {
        const { id, type } = JSON.parse(text)
        asked.push(type)
        // As the original's bridge.
        if (type === 'watch' && !tells) socket.send(JSON.stringify({ id, type: 'error', error: 'Unknown type: watch' }))
        else bridge.send(text)
      })
    })
    const room = 'watched ' + tells
    await a.bridge.call({ type: 'join', channel: room })
    await page.goto(link(a, { room }))
    await page.getByText('No expenses yet').waitFor()
    const paid = (amount) => a.bridge.call({ type: 'expense_add', channel: room, payer: 'alice', amount, split: 'alice,bob' })
    // What another client of the same bridge does, of which no message comes.
    asked.length = 0
    await page.clock.fastForward(60_000)
    await paid(30)
    if (!tells) await page.clock.fastForward(60_000)
    await owed(page, ['alice +15.00', 'bob −15.00'], ['bob pays alice 15.00'])
    assert.strictEqual(asked.includes('stats'), !tells, asked.join())
    // Rooms that are joined elsewhere come into the list.
    await a.bridge.call({ type: 'join', channel: room + ' too' })
    if (!tells) await page.clock.fastForward(60_000)
    await page.getByRole('button', { name: room + ' too', exact: true }).waitFor()
    for (const name of [room, room + ' too']) await a.bridge.call({ type: 'leave', channel: name })
    assert.deepStrictEqual(page.faults, [])
    await page.context().close()
  }
})

test('the assistant reads what the original reads', { timeout: 30_000 }, async () => {
  const page = await stage.browser.page()
  await page.goto(a.ui)
  const usage = 'Use: add alice 30 split alice,bob note dinner'
  const unknown = 'Unknown prompt. Try: add/balance/persist/restore/export/send'
  const add = (payer, amount, split, note = '') => ({ command: 'add', payer, amount, split, note })
  const cases = [
    ['', null], ['   ', null],
    ['balance', { command: 'balance' }], ['BALANCE please', { command: 'balance' }], ['balances', { command: 'balance' }],
    ['persist', { command: 'persist' }], [' Restore ', { command: 'restore' }],
    ['export', { command: 'export', format: 'text' }], ['export CSV', { command: 'export', format: 'csv' }],
    ['export  json', { command: 'export', format: 'json' }], ['export pdf', { command: 'export', format: 'text' }],
    ['send Hello  There', { command: 'send', text: 'Hello  There' }], ['send', unknown], ['send ', unknown], ['sendx', unknown],
    ['add alice 30 split alice,bob note dinner', add('alice', '30', 'alice,bob', 'dinner')],
    ['ADD Alice 12.5 SPLIT Bob NOTE a long one', add('Alice', '12.5', 'Bob', 'a long one')],
    ['add alice split bob 7', add('alice', '7', 'bob')],
    ['add alice -5 split bob', add('alice', '5', 'bob')],
    ['add alice 1,50 split bob', add('alice', '1', 'bob')],
    ['add 5 split bob', add('5', '5', 'bob')],
    ['add zoë 5 split bob', add('zo', '5', 'bob')],
    ['add alice 5 split a, b', add('alice', '5', 'a,')],
    ['add alice 5', usage], ['add alice split bob', usage], ['add', unknown], ['hello', unknown]
  ]
  for (const [line, expected] of cases) {
    const got = await page.evaluate(async (line) => {
      const { read } = await import('/assistant.js')
      try { return read(line) } catch (error) { return error.message }
    }, line)
    assert.deepStrictEqual(got, expected, line)
  }
  await page.context().close()
})

test('the theme is the system’s until another is chosen, and that lasts', { timeout: 30_000 }, async () => {
  const page = await stage.browser.page({ colorScheme: 'dark' })
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  await page.goto(a.ui)
  const dark = await ground()
  await page.emulateMedia({ colorScheme: 'light' })
  const light = await ground()
  assert.notStrictEqual(light, dark)
  const toggle = page.getByRole('button', { name: /^Theme/ })
  await toggle.click()
  await toggle.click()
  assert.strictEqual(await toggle.innerText(), 'Theme: dark')
  assert.strictEqual(await ground(), dark)
  await page.reload()
  assert.strictEqual(await ground(), dark)
  await page.context().close()
})

test('the demo prints pages that are connected, and shows what was paid', { timeout: 60_000 }, async () => {
  const demo = new Process('demo', [...RUST, 'demo'])
  try {
    const address = await demo.line((line) => /alice: (http:\S+)/.exec(line)?.[1], 60_000)
    const page = await stage.browser.page()
    await page.goto(address)
    await owed(page, ['alice +37.00', 'bob −14.00', 'carol −23.00'], ['carol pays alice 23.00', 'bob pays alice 14.00'])
    assert.ok(!page.url().includes('token'))
    await picture(page, 'demo')
    assert.deepStrictEqual(page.faults, [])
    await page.context().close()
    assert.deepStrictEqual(await demo.stop(), { code: 0, signal: null })
  } finally {
    await demo.kill()
  }
})
