exports.index = (environment, callback, _context, request) => {
  const items = request.session.get('items') || []
  callback(null, {
    items,
    count: items.reduce((sum, each) => sum + each.count, 0),
    instance: environment.instance,
    mothership: environment.mothership,
  })
}
