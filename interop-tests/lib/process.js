'use strict'
// Child processes whose output is kept for the report of a failure.

const { spawn } = require('child_process')
const { createInterface } = require('readline')

const LOG_LINES = 400
const live = new Set()
process.on('exit', () => { for (const child of live) child.kill('SIGKILL') })

class Process {
  /** `command` is an array; `name` stands before its lines in a report. */
  constructor (name, command, options = {}) {
    this.name = name
    this.command = command
    this.log = []
    this.dropped = 0
    this.exit = null // { code, signal }
    this.watchers = new Set()
    this.startedAt = performance.now()
    this.child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], ...options })
    live.add(this.child)
    this.pid = this.child.pid
    this.child.stdin.on('error', () => {})
    for (const out of [this.child.stdout, this.child.stderr]) createInterface({ input: out }).on('line', (line) => this.record(line))
    this.exited = new Promise((resolve) => {
      const done = (exit) => {
        if (this.exit) return
        this.exit = exit
        live.delete(this.child)
        this.record('(ended: ' + JSON.stringify(exit) + ')')
        for (const watcher of [...this.watchers]) watcher(null)
        resolve(exit)
      }
      this.child.on('error', (err) => done({ error: err.message }))
      this.child.on('close', (code, signal) => done({ code, signal }))
    })
  }

  record (line) {
    this.log.push((performance.now() - this.startedAt).toFixed(0).padStart(7) + ' ms  ' + line)
    if (this.log.length > LOG_LINES) {
      this.log.shift()
      this.dropped++
    }
    for (const watcher of [...this.watchers]) watcher(line)
  }

  /** The first line (from now on) for which `pick` gives something: that something. */
  line (pick, ms = 20_000) {
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        clearTimeout(timer)
        this.watchers.delete(watcher)
        settle(value)
      }
      const timer = setTimeout(() => end(reject, new Error(this.name + ': the expected line did not come in ' + ms + ' ms')), ms)
      const watcher = (line) => {
        if (line === null) return end(reject, new Error(this.name + ' ended: ' + JSON.stringify(this.exit)))
        let found
        try {
          found = pick(line)
        } catch (err) {
          return end(reject, err)
        }
        if (found !== undefined && found !== null && found !== false) end(resolve, found)
      }
      if (this.exit) return end(reject, new Error(this.name + ' ended: ' + JSON.stringify(this.exit)))
      this.watchers.add(watcher)
    })
  }

  /** SIGTERM, and wait for the end; a process that does not obey is killed and reported. */
  async stop (ms = 10_000) {
    if (this.exit) return this.exit
    this.child.kill('SIGTERM')
    let timer
    const late = new Promise((resolve) => { timer = setTimeout(resolve, ms, 'late') })
    const outcome = await Promise.race([this.exited, late])
    clearTimeout(timer)
    if (outcome !== 'late') return outcome
    await this.kill()
    throw new Error(this.name + ' did not end within ' + ms + ' ms of SIGTERM')
  }

  kill () {
    this.child.kill('SIGKILL')
    return this.exited
  }

  report () {
    const head = '--- ' + this.name + ': ' + this.command.join(' ')
    return [head, ...(this.dropped ? ['(' + this.dropped + ' lines before)'] : []), ...this.log].join('\n')
  }
}

/** A process that answers lines of JSON with lines of JSON. */
class Worker extends Process {
  constructor (name, command, options) {
    super(name, command, options)
    this.next = 1
  }

  send (request) {
    this.child.stdin.write(JSON.stringify(request) + '\n')
  }

  json (pick, ms) {
    return this.line((line) => line.startsWith('{') ? pick(JSON.parse(line)) : null, ms)
  }

  /** Send `{ id, ...request }` and wait for `{ id, ... }`; an `error` in it is thrown. */
  async call (request, ms) {
    const id = this.next++
    const reply = this.json((o) => o.id === id ? o : null, ms)
    this.send({ id, ...request })
    const answer = await reply
    if (answer.error) throw new Error(this.name + ': ' + request.op + ': ' + answer.error)
    return answer
  }
}

module.exports = { Process, Worker }
