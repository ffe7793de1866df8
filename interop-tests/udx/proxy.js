'use strict'
// A UDP link with delay, loss, reordering and duplication between two ports, decided by a seed.

const dgram = require('dgram')

/** A small generator of numbers in [0, 1) (mulberry32). */
function random (seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function bound () {
  return new Promise((resolve) => {
    const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
    socket.bind(0, '127.0.0.1', () => resolve(socket))
  })
}

/**
 * Opens two ports: what arrives at one leaves the other for that side's peer. A side's peer is set by `to`, or is whoever
 * sent to it last.
 */
module.exports = async function proxy ({ seed = 1, delay = 5, loss = 0, reorder = 0, duplicate = 0, filter = null } = {}) {
  const chance = random(seed)
  const sides = [await bound(), await bound()]
  const peers = [null, null]
  const timers = new Set()
  const dropped = [0, 0]
  for (const side of [0, 1]) {
    sides[side].on('message', (data, from) => {
      peers[side] = from.port
      if (chance() < loss || (filter && !filter(side, data))) {
        dropped[side]++
        return
      }
      const copies = chance() < duplicate ? 2 : 1
      for (let copy = 0; copy < copies; copy++) {
        const wait = delay + (chance() < reorder ? delay * 2 * chance() : 0)
        const timer = setTimeout(() => {
          timers.delete(timer)
          if (peers[1 - side]) sides[1 - side].send(data, peers[1 - side], '127.0.0.1')
        }, wait)
        timers.add(timer)
      }
    })
  }
  return {
    ports: sides.map((socket) => socket.address().port),
    dropped,
    to (side, port) { peers[side] = port },
    close () {
      for (const timer of timers) clearTimeout(timer)
      for (const socket of sides) socket.close()
    }
  }
}
