// The messages of a room.

import { $, bdi, h } from './dom.js'
import { amount, colourOf, cut, exactly, plain, shortKey, time } from './format.js'
import { MAX_MESSAGES } from './room.js'

/** Longer texts are cut, and shown whole when asked. */
const MAX_TEXT = 2000
const MAX_NAME = 40
/** Messages of one sender within this time stand together. */
const TOGETHER_MS = 5 * 60_000

export function startChat (session, { fail }) {
  const log = $('log')
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 48
  const toEnd = () => {
    log.scrollTop = log.scrollHeight
    $('newer').hidden = true
  }

  const render = () => {
    const { messages } = session.current
    log.replaceChildren(...(messages.length ? messages.map((message, at) => article(session, message, messages[at - 1])) : [nothing(session)]))
    toEnd()
    $('message').value = session.current.draft
    grow()
  }

  const append = ({ detail: { room, message } }) => {
    if (room !== session.current) return
    const stays = atEnd() || message.mine
    log.querySelector('.empty')?.remove()
    log.append(article(session, message, room.messages.at(-2)))
    while (log.childElementCount > MAX_MESSAGES) log.firstElementChild.remove()
    if (stays) toEnd()
    else $('newer').hidden = false
  }

  const replace = ({ detail: { room, message } }) => {
    if (room !== session.current) return
    const shown = [...log.children].find((child) => child.dataset.key === String(message.key))
    shown?.replaceWith(article(session, message, room.messages[room.messages.indexOf(message) - 1]))
  }

  const grow = () => {
    const box = $('message')
    box.style.height = 'auto'
    box.style.height = box.scrollHeight + 2 + 'px'
  }

  session.addEventListener('current', render)
  session.addEventListener('message', append)
  session.addEventListener('changed', replace)
  log.addEventListener('scroll', () => { if (atEnd()) $('newer').hidden = true })
  $('newer').addEventListener('click', () => {
    toEnd()
    log.focus()
  })
  $('message').addEventListener('input', () => {
    session.current.draft = $('message').value
    grow()
  })
  $('message').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    $('compose').requestSubmit()
  })
  $('compose').addEventListener('submit', (event) => {
    event.preventDefault()
    const text = $('message').value.trim()
    $('message').focus()
    if (!text) return
    if (session.status !== 'online') return fail(new Error('There is no connection; the message waits here until you send it.'))
    $('message').value = session.current.draft = ''
    grow()
    session.send(session.current, text)
  })
}

/** A room in which nothing was said yet. */
function nothing (session) {
  const room = session.current
  const about = session.isEntry(room)
    ? 'Every peer of the network can read what is said here.'
    : 'Messages come in while this page is open. If those of others do not, their peer or yours may want a welcome from the room’s owner first.'
  return h('div', { class: 'empty' }, h('p', {}, h('strong', {}, 'Nothing was said yet')), h('p', {}, about))
}

function article (session, message, before) {
  const { mine, from, at, about, state } = message
  const isEvent = about.kind === 'expense' || about.kind === 'clear'
  const follows = before && before.from === from && before.mine === mine && at - before.at < TOGETHER_MS && !isEvent && !['expense', 'clear'].includes(before.about.kind)
  const who = h('span', { class: 'who', title: from || undefined }, h('span', { class: 'mark', 'aria-hidden': 'true', data: { colour: colourOf(from) } }), mine ? 'You' : bdi(shortKey(from)))
  const stamp = h('time', { title: exactly(at) }, time(at))
  const element = h('article', { class: ['message', mine && 'mine', follows && 'follows', isEvent && 'event'].filter(Boolean).join(' '), data: { key: message.key, state } })
  if (isEvent) element.append(h('p', {}, who, ' ', ...happened(about), ' ', stamp))
  else element.append(h('header', {}, who, stamp), body(about))
  if (state === 'sending') element.append(h('p', { class: 'note' }, 'Sending…'))
  if (state === 'failed') {
    const again = h('button', { type: 'button', class: 'small', on: { click: () => session.resend(session.current, message) } }, 'Send again')
    element.append(h('p', { class: 'note error' }, 'Not sent: ' + message.error + ' ', again))
  }
  return element
}

function happened (about) {
  if (about.kind === 'clear') return ['cleared the ledger']
  const parts = ['added ', h('strong', {}, amount(about.cents)), ' paid by ', bdi(cut(about.payer, MAX_NAME))]
  if (about.note) parts.push(' for ', bdi(cut(about.note, MAX_NAME)))
  return parts
}

function body (about) {
  const text = plain(about.text)
  const tag = about.kind === 'data' ? 'pre' : 'p'
  // What may scroll can be reached by the keyboard.
  const element = h(tag, { class: 'text', dir: 'auto', tabindex: tag === 'pre' ? '0' : undefined }, cut(text, MAX_TEXT))
  if (element.textContent === text) return element
  const all = h('button', {
    type: 'button',
    class: 'small',
    on: { click: () => wrapper.replaceChildren(h(tag, { class: 'text', dir: 'auto', tabindex: '0' }, text)) }
  }, 'Show all of it')
  const wrapper = h('div', {}, element, all)
  return wrapper
}
