// The connection's state, and what is to be told.

import { $, setText } from './dom.js'

const SHOWN_MS = 6000
const TEXTS = { offline: 'Not connected', connecting: 'Connecting…', online: 'Connected', waiting: 'Reconnecting…' }

let timer = null

/** Shows a line for a while, and reads it out. */
export function say (text) {
  toast(text, 'said', false)
  timer = setTimeout(hide, SHOWN_MS)
}

/** Shows what went wrong, until it is dismissed. */
export function fail (error) {
  toast(error?.message || String(error), 'warned', true)
}

function toast (text, reader, isError) {
  clearTimeout(timer)
  setText($('toast-text'), text)
  $('toast').classList.toggle('wrong', isError)
  // Hidden first, so that it comes to lie above a dialog that was opened meanwhile.
  $('toast').hidePopover()
  $('toast').showPopover()
  // Emptied first, so that the same words are read out again.
  $(reader).textContent = ''
  requestAnimationFrame(() => { $(reader).textContent = text })
}

/** Takes away what was said and is read by now; what went wrong stays. */
export function hush () {
  if (!$('toast').classList.contains('wrong')) hide()
}

function hide () {
  clearTimeout(timer)
  $('toast').hidePopover()
}

export function startStatus (session) {
  let ticking = null

  const tick = () => {
    const seconds = Math.max(0, Math.ceil((session.retryAt - Date.now()) / 1000))
    $('retry').textContent = seconds ? `Try now (${seconds})` : 'Try now'
  }

  session.addEventListener('status', () => {
    const { status } = session
    $('state').dataset.status = status
    $('state').disabled = status === 'offline'
    setText($('state-text'), TEXTS[status])
    const isLost = status === 'waiting' || (status === 'connecting' && session.rooms.size > 0)
    $('banner').hidden = !isLost
    setText($('banner-text'), isLost ? 'The connection to your peer was lost.' : '')
    $('retry').disabled = status !== 'waiting'
    clearInterval(ticking)
    if (status !== 'waiting') return
    tick()
    ticking = setInterval(tick, 500)
  })
  $('retry').addEventListener('click', () => session.retry())
  $('toast-close').addEventListener('click', hide)
}
