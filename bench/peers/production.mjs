/** Imported before everything else: Express, Podium and others read this once, when they are loaded. */
process.env.NODE_ENV = 'production'
