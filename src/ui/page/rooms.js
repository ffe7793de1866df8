// The rooms, and the head of the one that is shown.

import { $, bdi, busy, h, setText } from './dom.js'
import { cut, plural } from './format.js'

const MAX_NAME = 60

export function startRooms (session, { fail }) {
  const render = () => {
    const focused = document.activeElement?.dataset?.room
    $('rooms').replaceChildren(...[...session.rooms.values()].map((room) => item(session, room)))
    // The list is new, the focus is not.
    if (focused !== undefined) [...$('rooms').querySelectorAll('button')].find((button) => button.dataset.room === focused)?.focus()
    head()
    const unread = [...session.rooms.values()].reduce((sum, room) => sum + room.unread, 0)
    document.title = (unread ? `(${unread}) ` : '') + (session.current ? cut(session.current.name, MAX_NAME) + ' · ' : '') + 'intercom'
  }

  const head = () => {
    const room = session.current
    if (!room) return
    setText($('room-name'), cut(room.name, MAX_NAME))
    const where = session.isEntry(room) ? 'Where all peers meet · ' : room.joined ? '' : 'Joining… · '
    setText($('room-facts'), where + (session.status === 'online' ? plural(session.peers, 'peer') + ' connected' : 'not connected'))
    $('leave').hidden = session.isEntry(room)
    $('listen').classList.toggle('on', room.listening)
    setText($('listen'), room.listening ? 'Subscribed' : 'Subscribe')
    $('listen').title = room.listening ? 'Messages of this room come in; press to stop them' : 'No messages of this room come in; press to hear them'
  }

  for (const type of ['rooms', 'current']) session.addEventListener(type, render)
  for (const type of ['stats', 'status']) session.addEventListener(type, head)
  // After a new list is there: the current one may lie outside of what is seen of it.
  session.addEventListener('current', () => $('rooms').querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }))
  $('leave').addEventListener('click', () => {
    const room = session.current
    busy($('leave'), 'Leaving…', () => session.leave(room)).then(() => $('room-name').focus(), fail)
  })
  $('listen').addEventListener('click', () => session.listen(session.current, !session.current.listening).catch(fail))
}

function item (session, room) {
  const name = cut(room.name, MAX_NAME)
  return h('li', {},
    h('button', {
      type: 'button',
      data: { room: room.name },
      class: room.listening ? undefined : 'muted',
      'aria-current': room === session.current ? 'true' : undefined,
      title: room.name === name ? undefined : cut(room.name, 1000),
      on: { click: () => session.show(room.name) }
    },
    bdi(name),
    room.unread ? h('span', { class: 'badge' }, room.unread > 99 ? '99+' : String(room.unread), h('span', { class: 'hidden' }, ' unread')) : null))
}
