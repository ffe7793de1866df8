'use strict'
// Chromium, and pages of it that note whatever goes wrong in them.

const fs = require('fs')
const { join } = require('path')
const { chromium } = require('playwright-core')
const { path } = require('./chromium')

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync']

/** Where `PAGE_SCREENSHOTS` names a folder, pictures of the states of the page are left there. */
const PICTURES = process.env.PAGE_SCREENSHOTS

class Browser {
  static async launch () {
    const browser = new Browser()
    browser.chromium = await chromium.launch({ executablePath: path(), headless: true, args: FLAGS })
    return browser
  }

  /** A page of its own profile. `faults` gets what must not happen: errors, refused loads, requests to elsewhere. */
  async page (options = {}) {
    const context = await this.chromium.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options })
    return open(context)
  }

  close () {
    return this.chromium.close()
  }
}

async function open (context) {
  const page = await context.newPage()
  page.faults = []
  page.urls = []
  page.on('pageerror', (error) => page.faults.push('thrown: ' + error.message))
  page.on('console', (message) => {
    // A bridge that does not answer is an error for the browser, but not for the page.
    const expected = /WebSocket connection to/.test(message.text())
    if (['error', 'warning'].includes(message.type()) && !expected) page.faults.push(message.type() + ': ' + message.text())
  })
  page.on('dialog', (dialog) => {
    page.faults.push('dialog: ' + dialog.message())
    dialog.dismiss()
  })
  page.on('request', (request) => page.urls.push(request.url()))
  page.setDefaultTimeout(20_000)
  return page
}

/** Leaves a picture, where that was asked for. */
async function picture (page, name) {
  if (!PICTURES) return
  fs.mkdirSync(PICTURES, { recursive: true })
  await page.screenshot({ path: join(PICTURES, name + '.png') })
}

module.exports = { Browser, open, picture }
