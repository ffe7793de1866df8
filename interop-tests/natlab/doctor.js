'use strict'
// What `intercom doctor` says behind each kind of NAT: a cell of the matrix for one machine.

const { rewire, start } = require('./lab')

const TIMEOUT = 120_000

/** Where it runs, the line about the NAT that it must find there, and what connecting from inside must come to. */
const CASES = [
  { nat: 'open', host: 'open', says: /^ok {4}nat +open, at 45\.10\.3\.1: reachable/m },
  { nat: 'cone', host: 'hostA', says: /^ok {4}nat +consistent \(a cone\), at 45\.10\.1\.1: connections are punched/m },
  { nat: 'full', host: 'hostA', says: /^ok {4}nat +open, at 45\.10\.1\.1: reachable/m, connect: /^note {2}connect .*no hairpin NAT/m },
  { nat: 'sym', host: 'hostA', says: /^note {2}nat +random \(symmetric\), at 45\.10\.1\.1: .*relayed/m }
]

/** What is good everywhere. */
const FINE = [/^ok {4}addresses /m, /^ok {4}dht /m, /^ok {4}announce /m, /^Nothing is broken\.$/m]

/** A row for each kind of NAT: what it said, and what is wrong with that. */
async function runDoctor(intercom, bootstrap, report) {
  const rows = []
  for (const { nat, host, says, connect = /^ok {4}connect /m } of CASES) {
    rewire(nat === 'open' ? 'cone' : nat, 'cone')
    const begun = process.hrtime.bigint()
    const child = start(host, intercom, ['doctor', '--dht-bootstrap', bootstrap], {})
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT)
    const code = await child.ended
    clearTimeout(timer)
    const took = Number(process.hrtime.bigint() - begun) / 1e6
    report(nat, child.output)
    const wrong = [says, connect, ...FINE].filter((words) => !words.test(child.output)).map(String)
    if (code !== 0) wrong.push(`ended with ${code}`)
    if (/^bad /m.test(child.output)) wrong.push('it found something broken')
    rows.push({ nat, took, wrong })
  }
  return rows
}

module.exports = { runDoctor }
