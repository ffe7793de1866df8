// The page begins here: it connects, and lets each part see to its own.

import { read } from './assistant.js'
import { startChat } from './chat.js'
import { startDialogs } from './dialogs.js'
import { $, busy, setText, showError } from './dom.js'
import { amount, balance, plain } from './format.js'
import { add, startLedger } from './ledger.js'
import { addressError, ownBridge, remember, remembered, takeLink } from './link.js'
import { startRooms } from './rooms.js'
import { Session, WrongToken } from './session.js'
import { fail, say, startStatus } from './status.js'

const MAX_ANSWERS = 50_000

const session = new Session()
const voice = { say, fail }

startStatus(session)
startRooms(session, voice)
startChat(session, voice)
startLedger(session, voice)
startDialogs(session, voice)
startTheme()
startViews()
startConnecting()
startAssistant()
startTools()
begin()

/** Connects by the link, else as this tab was connected before, else asks. */
async function begin () {
  const link = takeLink()
  const own = await ownBridge()
  if (own) $('url').value = own
  const connection = link.token ? { ...link, url: link.url || $('url').value } : remembered()
  if (connection) await connect(connection)
  else show()
}

async function connect (connection) {
  $('url').value = connection.url
  const problem = addressError(connection.url)
  showError($('connect-error'), '')
  showError($('url-error'), problem, $('url'))
  showError($('token-error'), connection.token ? '' : 'The bridge wants a token.', $('token'))
  if (problem || !connection.token) {
    show()
    return $(problem ? 'url' : 'token').focus()
  }
  // Kept whether the bridge answers or not: a peer that starts again is found again by a reload, and by the same form.
  remember({ url: connection.url, token: connection.token })
  $('token').value = connection.token
  try {
    await busy($('connect-button'), 'Connecting…', () => session.connect(connection))
    $('token').value = ''
  } catch (error) {
    refuse(error)
  }
}

/** Back to the form, with what is wrong. */
function refuse (error) {
  const isToken = error instanceof WrongToken
  if (isToken) remember(null)
  show()
  showError($(isToken ? 'token-error' : 'connect-error'), error.message, isToken ? $('token') : null)
  $(isToken ? 'token' : 'url').focus()
}

/** The rooms where there is a connection or hope for one, else the form. */
function show () {
  const isInside = session.status !== 'offline' && session.current !== null
  const changes = $('app').hidden === isInside
  $('app').hidden = !isInside
  $('welcome').hidden = isInside
  document.documentElement.dataset.ready = 'true'
  if (changes) $(isInside ? 'room-name' : 'connect-title').focus()
}

function startConnecting () {
  $('connect').addEventListener('submit', (event) => {
    event.preventDefault()
    const connection = { url: $('url').value.trim(), token: $('token').value.trim() }
    connect(connection)
  })
  $('disconnect').addEventListener('click', leave)
  $('give-up').addEventListener('click', leave)
  session.addEventListener('status', show)
  session.addEventListener('refused', ({ detail: { error } }) => refuse(error))
  session.addEventListener('trouble', ({ detail: { error } }) => fail(error))
  addEventListener('hashchange', () => {
    const link = takeLink()
    if (link.token) connect({ ...link, url: link.url || $('url').value })
  })
}

function leave () {
  remember(null)
  session.disconnect()
}

function startTheme () {
  const names = { system: 'as the system', light: 'light', dark: 'dark' }
  const { dataset } = document.documentElement
  const tell = () => setText($('theme-text'), 'Theme: ' + names[dataset.theme])
  $('theme').addEventListener('click', () => {
    const order = Object.keys(names)
    dataset.theme = order[(order.indexOf(dataset.theme) + 1) % order.length]
    try { localStorage.setItem('intercom.theme', dataset.theme) } catch { /* Then it is for now. */ }
    tell()
    say('Theme: ' + names[dataset.theme])
  })
  tell()
}

/** Where there is no room for both, chat or expenses are shown. */
function startViews () {
  const buttons = [...document.querySelectorAll('[data-view]')]
  for (const button of buttons) {
    button.addEventListener('click', () => {
      $('app').dataset.shown = button.dataset.view
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button))
    })
  }
  $('app').dataset.shown = 'chat'
}

function startTools () {
  $('persist').addEventListener('click', () => busy($('persist'), 'Persisting…', async () => say(await persist())).catch(fail))
  $('restore').addEventListener('click', () => busy($('restore'), 'Restoring…', async () => say(await restore())).catch(fail))
}

async function persist () {
  const reply = await session.request('expense_persist', { channel: session.current.name })
  return `Persisted. Transaction: ${reply.tx || 'none'}`
}

async function restore () {
  const room = session.current
  // As the original's page: what this peer has seen counts, and takes the place of what is there.
  const reply = await session.request('expense_restore', { channel: room.name, confirmed: false, replace: true })
  await session.refreshLedger(room)
  const source = reply.source === 'contract' ? 'the contract' : 'what this peer keeps'
  return `Restored from ${source}: ${reply.added} added, ${reply.total} in all.`
}

function startAssistant () {
  const answer = (text) => {
    const box = $('answer')
    box.hidden = false
    setText(box, (box.textContent + (box.textContent ? '\n\n' : '') + plain(text)).slice(-MAX_ANSWERS))
    box.scrollTop = box.scrollHeight
  }
  $('assistant').addEventListener('submit', (event) => {
    event.preventDefault()
    const line = $('prompt').value
    busy($('run'), '…', async () => {
      const asked = read(line)
      if (!asked) return
      const said = await carryOut(asked)
      $('prompt').value = ''
      answer(`> ${line.trim()}\n${said}`)
    }).catch((error) => answer(`> ${line.trim()}\n${error.message}`))
  })
}

/** Does what the assistant line asks for, and says what came of it. */
async function carryOut (asked) {
  const room = session.current
  switch (asked.command) {
    case 'add': {
      const { payer, amount, split, note } = asked
      return add(session, room, { payer, amount, split, note })
    }
    case 'balance': {
      const { summary } = await session.request('expense_balance', { channel: room.name })
      const lines = [...summary.balances.map(({ member, cents }) => `${member}: ${balance(cents)}`),
        ...summary.settlements.map(({ from, to, amountCents }) => `${from} -> ${to}: ${amount(amountCents)}`)]
      return lines.join('\n') || 'Nothing is owed.'
    }
    case 'export':
      return (await session.request('expense_export', { channel: room.name, format: asked.format })).data
    case 'persist': return persist()
    case 'restore': return restore()
    case 'send':
      await session.send(room, asked.text)
      return 'Sent.'
  }
}
