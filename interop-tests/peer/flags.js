'use strict'
// The flags of the Intercom application, read as leniently as it reads them.

/** `--key value`, `--key=value` and a bare `--key` (true), the last one wins; everything else is ignored. */
function parse (argv) {
  const flags = {}
  for (let i = 0; i < argv.length; i++) {
    const token = String(argv[i])
    if (!token.startsWith('--')) continue
    const eq = token.indexOf('=')
    if (eq > 2) {
      flags[token.slice(2, eq)] = token.slice(eq + 1)
      continue
    }
    const next = argv[i + 1]
    if (next === undefined || String(next).startsWith('--')) flags[token.slice(2)] = 'true'
    else {
      flags[token.slice(2)] = String(next)
      i++
    }
  }
  return flags
}

const bool = (value, fallback) => value === undefined || value === '' ? fallback : ['1', 'true', 'yes', 'on'].includes(String(value).trim().toLowerCase())

const list = (value) => String(value || '').split(',').map((s) => s.trim()).filter(Boolean)

const nodes = (value) => list(value).map((s) => {
  const at = s.lastIndexOf(':')
  return { host: s.slice(0, at), port: Number(s.slice(at + 1)) }
})

module.exports = { parse, bool, list, nodes }
