// Light, dark, or as the system has it: chosen before anything is painted.
const stored = () => { try { return localStorage.getItem('intercom.theme') } catch { return null } }

document.documentElement.dataset.theme = ['light', 'dark'].includes(stored()) ? stored() : 'system'
