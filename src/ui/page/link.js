// What the address of the page says: `#token=…&bridge=ws://…&room=…`. It stands behind the `#`, which browsers send nobody.

/** Where the address of a bridge that may be asked leads to: this machine, or the host that served the page. */
const hosts = () => new Set(['127.0.0.1', 'localhost', '[::1]', location.hostname])

/** Why an address is none, or `null`. */
export function addressError (text) {
  let url
  try { url = new URL(text) } catch { return 'That is no address. One looks like ws://127.0.0.1:49222' }
  if (url.protocol !== 'ws:') return 'The address of a bridge begins with ws://'
  if (url.username || url.password) return 'The address has no place for a name or a password.'
  if (!hosts().has(url.hostname) && !url.hostname.endsWith('.localhost')) {
    return 'For your safety this page only connects to this machine and to the one that it came from.'
  }
  return null
}

/** Reads the link, and takes the secret out of the address bar and the history. */
export function takeLink () {
  const link = new URLSearchParams(location.hash.slice(1))
  if (!['token', 'bridge', 'room'].some((name) => link.has(name))) return {}
  history.replaceState(null, '', location.pathname + location.search)
  return { token: link.get('token') || '', url: link.get('bridge') || '', room: link.get('room') || '' }
}

/** The bridge of the peer that serves this page, or `null` where it has none. */
export async function ownBridge () {
  try {
    const reply = await fetch('/bridge.json')
    const bridge = reply.ok ? await reply.json() : null
    if (!bridge || !Number.isInteger(bridge.port)) return null
    const host = bridge.host ?? location.hostname
    return 'ws://' + (host.includes(':') && !host.startsWith('[') ? '[' + host + ']' : host) + ':' + bridge.port
  } catch {
    return null
  }
}

const KEY = 'intercom.connection'

/** The connection of this tab, so that it lasts over a reload. */
export function remembered () {
  try { return JSON.parse(sessionStorage.getItem(KEY)) } catch { return null }
}

export function remember (connection) {
  try {
    if (connection) sessionStorage.setItem(KEY, JSON.stringify(connection))
    else sessionStorage.removeItem(KEY)
  } catch { /* A browser that keeps nothing asks again. */ }
}
