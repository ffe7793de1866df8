// What opens above the page: joining, exporting, clearing, and what is known of the peer.

import { $, busy, h, setText, showError } from './dom.js'
import { plain, plural } from './format.js'
import { hush } from './status.js'

const KINDS = { text: ['txt', 'text/plain'], json: ['json', 'application/json'], csv: ['csv', 'text/csv'] }

export function startDialogs (session, { say, fail }) {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog || event.target.closest('[data-close]')) dialog.close()
    })
  }
  session.addEventListener('status', () => {
    if (session.status === 'offline') for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close()
  })
  startJoin(session, say)
  startExport(session, say)
  startClear(session, say, fail)
  startPeer(session, say)
}

function startJoin (session, say) {
  const [name, invite, welcome] = ['join-name', 'join-invite', 'join-welcome'].map($)
  $('join').addEventListener('click', () => {
    for (const field of [name, invite, welcome]) field.value = ''
    showError($('join-error'), '', name)
    open('join')
    name.focus()
  })
  $('join-form').addEventListener('submit', (event) => {
    event.preventDefault()
    const credentials = {}
    if (invite.value.trim()) credentials.invite = invite.value.trim()
    if (welcome.value.trim()) credentials.welcome = welcome.value.trim()
    if (!name.value.trim()) {
      showError($('join-error'), 'A room needs a name.', name)
      return name.focus()
    }
    showError($('join-error'), '', name)
    busy($('join-submit'), 'Joining…', async () => {
      const room = await session.join(name.value.trim(), credentials)
      $('join-dialog').close()
      say(`Joined ${room.name}.`)
      $('room-name').focus()
    }).catch((error) => showError($('join-error'), error.message))
  })
}

function startExport (session, say) {
  let [format, data] = ['text', '']

  const load = async (wanted) => {
    format = wanted
    for (const button of $('export-dialog').querySelectorAll('[data-format]')) {
      button.setAttribute('aria-pressed', String(button.dataset.format === format))
    }
    try {
      const reply = await session.request('expense_export', { channel: session.current.name, format })
      if (format !== wanted) return
      data = String(reply.data ?? '')
    } catch (error) {
      data = error.message
    }
    setText($('export-data'), plain(data))
  }

  $('export').addEventListener('click', () => {
    setText($('export-data'), '')
    open('export')
    load('text')
  })
  for (const button of $('export-dialog').querySelectorAll('[data-format]')) {
    button.addEventListener('click', () => load(button.dataset.format))
  }
  $('export-copy').addEventListener('click', async () => {
    await copy(data, $('export-data'))
    say('Copied.')
  })
  $('export-save').addEventListener('click', () => {
    const [ending, type] = KINDS[format]
    const address = URL.createObjectURL(new Blob([data], { type }))
    h('a', { href: address, download: session.current.name.replace(/[^\p{L}\p{N}_.-]+/gu, '-') + '-expenses.' + ending }).click()
    URL.revokeObjectURL(address)
  })
}

function startClear (session, say, fail) {
  $('clear').addEventListener('click', () => open('clear'))
  $('clear-confirm').addEventListener('click', () => {
    const room = session.current
    busy($('clear-confirm'), 'Clearing…', async () => {
      await session.request('expense_clear', { channel: room.name })
      await session.noteOwn(room, { kind: 'clear' })
      say('The ledger is empty.')
    }).catch(fail).finally(() => {
      $('clear-dialog').close()
      $('room-name').focus()
    })
  })
}

function startPeer (session, say) {
  $('state').addEventListener('click', () => {
    const { hello, url } = session
    const facts = [
      ['Public key', hello?.peer, true], ['Address', hello?.address, true], ['Bridge', url],
      ['Connected to', plural(session.peers, 'peer')], ['Rooms', String(session.rooms.size)]
    ]
    $('peer-facts').replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value, copies]) => {
      const shown = h('span', { class: copies ? 'key' : undefined }, String(value))
      const button = copies && h('button', { type: 'button', class: 'small', 'aria-label': `Copy the ${name.toLowerCase()}`, on: { click: () => copy(String(value), shown).then(() => say('Copied.')) } }, 'Copy')
      return [h('dt', {}, name), h('dd', {}, shown, button)]
    }))
    open('peer')
  })
}

/** Opens a dialog. What was said about something else does not shine above it. */
function open (name) {
  hush()
  $(name + '-dialog').showModal()
}

/** Copies a text; where the browser does not let a page do that, selects it. */
async function copy (text, shown) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    getSelection().selectAllChildren(shown)
  }
}
