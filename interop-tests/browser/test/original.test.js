'use strict'
// The original's page on our bridge: the tutorial as its readers do it.

const assert = require('assert')
const fs = require('fs')
const http = require('http')
const path = require('path')
const { test, before, after } = require('node:test')
const { Stage, TOKEN } = require('../lib/stage')

const FOLDER = process.env.INTERCOM_PAGE
const skip = FOLDER ? false : 'INTERCOM_PAGE does not name the folder of the original’s page (its `frontend`)'
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' }
const ROOM = 'trip-nyc'

let stage, server
before(async () => {
  if (skip) return
  stage = await Stage.set()
  server = http.createServer((request, response) => {
    const name = path.basename(request.url === '/' ? 'index.html' : request.url)
    const file = path.join(FOLDER, name)
    if (!TYPES[path.extname(name)] || !fs.existsSync(file)) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': TYPES[path.extname(name)] }).end(fs.readFileSync(file))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
})
after(async () => {
  server?.close()
  await stage?.strike()
})

test('the original’s page, on two of our peers', { timeout: 90_000, skip }, async () => {
  const peers = [await stage.peer('a', { extra: ['--sidechannels', ROOM] }), await stage.peer('b', { extra: ['--sidechannels', ROOM] })]
  await peers[1].bridge.connected(1)
  const pages = []
  for (const peer of peers) {
    const page = await stage.browser.page()
    // Its fonts come from elsewhere, which is not there.
    await page.route(/googleapis|gstatic/, (route) => route.abort())
    await page.goto('http://127.0.0.1:' + server.address().port)
    await page.locator('#wsUrl').fill(peer.bridgeUrl)
    await page.locator('#token').fill(TOKEN)
    await page.locator('#connectBtn').click()
    await page.locator('#status').getByText('authenticated').waitFor()
    await page.locator('#joinBtn').click()
    await page.locator('#joinState').getByText('Join: joined ' + ROOM).waitFor()
    await page.locator('#subBtn').click()
    await page.locator('#subState').getByText('Subscribe: ' + ROOM).waitFor()
    pages.push(page)
  }
  const [a, b] = pages
  const feed = (page, text) => page.locator('#log').getByText(text).last().waitFor()

  await a.locator('#chatText').fill('hello team')
  await a.locator('#sendChatBtn').click()
  await feed(b, `[${ROOM}] ${peers[0].publicKey}: hello team`)

  await a.locator('#payer').fill('alice')
  await a.locator('#amount').fill('30')
  await a.locator('#note').fill('dinner')
  await a.locator('#addExpenseBtn').click()
  await feed(a, '"type":"expense_added"')
  await feed(b, '"app":"expense_split_v1"')
  for (const page of pages) {
    await page.locator('#balanceBtn').click()
    await feed(page, '"amountCents": 1500')
  }
  await b.locator('#assistantText').fill('add bob 10 split alice,bob note snacks')
  await b.locator('#assistantBtn').click()
  await feed(a, '"note":"snacks"')
  await a.locator('#exportBtn').click()
  await feed(a, '- bob -> alice: 10.00')
  await a.locator('#restoreBtn').click()
  await feed(a, 'total=2 source=local')
  await a.locator('#persistBtn').click()
  await feed(a, 'Peer is not writable.')
  await a.locator('#clearBtn').click()
  await feed(a, '"type":"expense_cleared"')
  await b.locator('#balanceBtn').click()
  await feed(b, '"eventCount": 0')
  assert.ok(pages.every((page) => page.faults.every((fault) => /Failed to load resource/.test(fault))), JSON.stringify(pages.map((page) => page.faults)))
})
