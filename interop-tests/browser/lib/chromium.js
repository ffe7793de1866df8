'use strict'
// Where Chromium is.

const fs = require('fs')

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', 'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe']

/** The path of the program; throws where there is none. */
function path () {
  const found = [process.env.CHROMIUM, ...PLACES].find((place) => place && fs.existsSync(place))
  if (!found) throw new Error('no Chromium is here: install it, or name it in CHROMIUM')
  return found
}

module.exports = { path }
