'use strict'
// Runs the original on all sessions and writes down its replies, for tests without it:
//
//     INTERCOM_JS="command" node interop-tests/differential/record.js
//
// One line a session: {name, flags, exchanges: [[request, reply], ...]}. A long reply is kept as its SHA-256. Words of a session's name
// after the command record these sessions only, and leave the others as they are.

const crypto = require('crypto')
const fs = require('fs')
const path = require('path')
const { startDht } = require('../lib/kinds')
const { SESSIONS, COMMON, requests } = require('./sessions')
const { talk } = require('./talk')

/** A longer reply, in UTF-16 units, is kept as its hash. */
const LONGEST = 160
const short = (reply) => reply.length <= LONGEST ? reply : 'sha256:' + crypto.createHash('sha256').update(reply).digest('hex')

async function main () {
  const file = path.join(__dirname, 'original.jsonl')
  const only = process.argv.slice(2)
  const kept = new Map(fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => [JSON.parse(line).name, line]))
  const dht = await startDht('pinned')
  const lines = []
  for (const session of SESSIONS) {
    if (!only.every((word) => session.name.includes(word)) && kept.has(session.name)) {
      lines.push(kept.get(session.name))
      continue
    }
    const replies = await talk('original', session, dht.bootstrap)
    const exchanges = requests(session).map((request, i) => [request, short(replies[i])])
    lines.push(JSON.stringify({ name: session.name, flags: [...COMMON, ...session.flags], exchanges }))
    console.log(session.name + ': ' + replies.length)
  }
  fs.writeFileSync(file, lines.join('\n') + '\n')
  await dht.stop()
}

main().then(() => process.exit(), (err) => { console.error(err); process.exit(1) })
