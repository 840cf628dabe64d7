const itemsMax = 10
const countMax = 99

// Adds one piece, and shows the page again.
exports.post = (request, response) => {
  const title = String(request.body.title || '').slice(0, 40)
  const items = request.session.get('items') || []
  const known = items.find(each => each.title === title)
  if (known) known.count = Math.min(known.count + 1, countMax)
  else if (title && items.length < itemsMax) items.push({ title, count: 1 })
  request.session.set('items', items)
  response.writeHead(303, { Location: '/shop/index' })
  response.end()
}
