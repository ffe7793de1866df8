// The expenses of a room: what is owed, by whom, and for what.

import { $, bdi, busy, h, setText, showError } from './dom.js'
import { amount, balance, cut, exactly, plural, when } from './format.js'
import { draw } from './picture.js'

/** Entries shown at first, and each time that more are asked for. */
const STEP = 20
const MAX_STEP = 200
const MAX_LINES = 100
const MAX_NAME = 40
const MAX_NOTE = 200
const MAX_SPLIT = 8
/** What an expense cannot be without. */
const FIELDS = ['payer', 'amount', 'split']

export function startLedger (session, { say }) {
  let shown = STEP

  const render = () => {
    const room = session.current
    if (!room) return
    const { summary, events, ledgerError } = room
    showError($('ledger-error'), ledgerError && explain(ledgerError))
    setText($('total'), amount(summary?.totalCents))
    setText($('entry-count'), summary ? plural(events.length, 'entry', 'entries') : '')
    setText($('ledger-count'), events.length ? String(events.length) : '')
    $('ledger-empty').hidden = !summary || events.length > 0
    settlement(summary)
    balances(summary)
    entries(events, shown)
    for (const id of ['persist', 'clear', 'export']) $(id).hidden = events.length === 0
    const names = (summary?.balances ?? []).slice(0, MAX_LINES).map(({ member }) => String(member))
    $('members').replaceChildren(...names.map((name) => h('option', { value: name })))
  }

  session.addEventListener('current', () => {
    shown = STEP
    for (const name of FIELDS) showError($('expense-error'), '', $(name))
    render()
  })
  session.addEventListener('ledger', ({ detail: { room } }) => { if (room === session.current) render() })
  new ResizeObserver(() => picture(session.current?.summary)).observe($('picture'))
  $('more').addEventListener('click', () => {
    shown += MAX_STEP
    render()
  })
  // What was missing is being typed.
  $('expense').addEventListener('input', ({ target }) => {
    if (target.getAttribute('aria-invalid')) showError($('expense-error'), '', target)
  })
  $('expense').addEventListener('submit', (event) => {
    event.preventDefault()
    const fields = Object.fromEntries(['payer', 'amount', 'split', 'note'].map((name) => [name, $(name).value.trim()]))
    const problem = check(fields)
    for (const name of FIELDS) $(name).removeAttribute('aria-invalid')
    showError($('expense-error'), problem?.text, problem && $(problem.field))
    if (problem) return $(problem.field).focus()
    busy($('add'), 'Adding…', async () => {
      const done = await add(session, session.current, fields)
      for (const name of ['amount', 'note']) $(name).value = ''
      say(done)
      $('payer').focus()
    }).catch((error) => {
      const field = /amount/i.test(error.message) ? $('amount') : /payer/i.test(error.message) ? $('payer') : null
      showError($('expense-error'), error.message, field)
      field?.focus()
    })
  })
}

/** Adds an expense, and says what was added. */
export async function add (session, room, fields) {
  const { event } = await session.request('expense_add', { channel: room.name, ...fields })
  await session.noteOwn(room, { kind: 'expense', payer: event.payer, cents: event.amountCents, note: event.note })
  return `Added ${amount(event.amountCents)} paid by ${cut(event.payer, MAX_NAME)}.`
}

/** What is missing; whether an amount is one, the peer decides. */
function check ({ payer, amount, split }) {
  if (!payer) return { field: 'payer', text: 'Who paid?' }
  if (!amount) return { field: 'amount', text: 'How much was it?' }
  if (/,\d{1,2}$/.test(amount)) {
    return { field: 'amount', text: `Write ${amount.replace(/,(?=\d+$)/, '.')}: peers read a comma as a separator of thousands.` }
  }
  if (!split) return { field: 'split', text: 'Between whom is it split?' }
  return null
}

/** An error of the bridge for the user. */
function explain (error) {
  return /not initialized|Unknown type/.test(error) ? 'This peer keeps no expenses.' : error
}

function settlement (summary) {
  const flows = summary?.settlements ?? []
  const isEven = (summary?.eventCount ?? 0) > 0 && flows.length === 0
  $('settlement').hidden = flows.length === 0 && !isEven
  picture(summary)
  const lines = flows.slice(0, MAX_LINES).map(({ from, to, amountCents }) => h('li', {},
    h('span', {}, bdi(cut(from, MAX_NAME)), ' pays ', bdi(cut(to, MAX_NAME))), h('span', { class: 'number' }, amount(amountCents))))
  if (flows.length > MAX_LINES) lines.push(h('li', {}, `and ${flows.length - MAX_LINES} more; the export has all`))
  if (isEven) lines.push(h('li', {}, 'Everyone is even.'))
  $('settlements').replaceChildren(...lines)
}

function picture (summary) {
  const drawn = draw(summary?.settlements ?? [], $('picture').clientWidth)
  $('picture').replaceChildren(...(drawn ? [drawn] : []))
}

function balances (summary) {
  const all = summary?.balances ?? []
  $('balances-block').hidden = all.length === 0
  const largest = all.reduce((most, { cents }) => Math.max(most, Math.abs(cents)), 1)
  $('balances').replaceChildren(...all.slice(0, MAX_LINES).map(({ member, cents }) => {
    const bar = h('span', { class: 'length' })
    bar.style.width = (Math.abs(cents) / largest) * 50 + '%'
    const side = cents > 0 ? 'credit' : cents < 0 ? 'debit' : 'even'
    return h('tr', { class: side },
      h('th', { scope: 'row' }, bdi(cut(member, MAX_NAME))),
      h('td', { class: 'bar', 'aria-hidden': 'true' }, bar),
      h('td', { class: 'number' }, balance(cents)))
  }))
}

/** A mark for what nobody signed, where the peer looks at signatures; the original's does not. */
const doubt = (event) => event.verified === false && h('span', { class: 'tag', title: 'No signature shows who added this' }, 'unsigned')

/** Newest first. The roles repeat what the elements are, because the narrow layout takes it from them. */
function entries (events, count) {
  $('entries-block').hidden = events.length === 0
  const newest = events.slice(-count).reverse()
  $('entries').replaceChildren(...newest.map((event) => {
    const split = Array.isArray(event.split) ? event.split.map(String) : []
    const names = split.slice(0, MAX_SPLIT).flatMap((name, at) => [at ? ', ' : '', bdi(cut(name, MAX_NAME))])
    if (split.length > MAX_SPLIT) names.push(` and ${split.length - MAX_SPLIT} more`)
    return h('tr', { role: 'row' },
      h('td', { role: 'cell', class: 'when' }, h('time', { title: exactly(event.ts) }, when(event.ts))),
      h('td', { role: 'cell', class: 'what' }, event.note ? bdi(cut(event.note, MAX_NOTE)) : h('span', { class: 'facts' }, 'no note'), doubt(event)),
      h('td', { role: 'cell', class: 'payer' }, bdi(cut(event.payer, MAX_NAME))),
      h('td', { role: 'cell', class: 'split' }, ...names),
      h('td', { role: 'cell', class: 'number' }, amount(event.amountCents)))
  }))
  const left = events.length - newest.length
  $('more').hidden = left <= 0
  setText($('more'), `Show ${Math.min(left, MAX_STEP)} more of ${left}`)
}
