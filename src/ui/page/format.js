// How values are shown.

const money = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' })

/** Cents as an amount, without sign. */
export const amount = (cents) => money.format(Math.abs(Number(cents) || 0) / 100)

/** Cents as a balance. */
export const balance = (cents) => (cents > 0 ? '+' : cents < 0 ? '−' : '') + amount(cents)

/** The date of a time in milliseconds, or `null`: peers send what they like. */
function date (time) {
  const date = new Date(typeof time === 'number' ? time : NaN)
  return Number.isFinite(date.getTime()) && Math.abs(date.getFullYear()) < 10_000 ? date : null
}

const isToday = (value) => value.toDateString() === new Date().toDateString()

/** When a message came: the time of day, with the day before it if that is another. */
export function time (value) {
  const at = date(value)
  if (!at) return ''
  return isToday(at) ? clock.format(at) : dayOf(at) + ' ' + clock.format(at)
}

const dayOf = (at) => (at.getFullYear() === new Date().getFullYear() ? day : dayOfYear).format(at)

/** When something was paid: the day, or the time if it is today. */
export function when (value) {
  const at = date(value)
  if (!at) return '–'
  return isToday(at) ? clock.format(at) : dayOf(at)
}

/** The same to the second. */
export function exactly (value) {
  const at = date(value)
  return at ? full.format(at) : ''
}

/** The ends of a public key. */
export function shortKey (key) {
  const text = String(key ?? '')
  return text.length > 16 ? text.slice(0, 6) + '…' + text.slice(-4) : text || 'unknown'
}

/** Control characters, and those that turn the direction of what follows: with them a name looks like another. */
const MISLEADING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Text of peers as it is shown: what would mislead is visible, lines stay lines. */
export const plain = (text) => String(text).replaceAll('\r\n', '\n').replace(MISLEADING, '\ufffd')

/** The same with a bounded length, in whole characters. */
export function cut (text, length) {
  text = plain(text)
  const characters = [...String(text).slice(0, length * 4)]
  return characters.length > length || String(text).length > length * 4 ? characters.slice(0, length - 1).join('') + '…' : characters.join('')
}

/** One of `count` colours for a key, always the same. */
export function colourOf (key, count = 8) {
  let hash = 0
  for (const character of String(key)) hash = (hash * 31 + character.codePointAt(0)) >>> 0
  return hash % count
}

/** "1 peer", "2 peers". */
export const plural = (count, one, many = one + 's') => count + ' ' + (count === 1 ? one : many)
