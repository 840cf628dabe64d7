// The page's icon: browsers look for it in the head, which no component writes.
const drawing = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><text y='13' font-size='13'>☂</text></svg>`
const icon = document.createElement('link')
icon.rel = 'icon'
icon.href = `data:image/svg+xml,${encodeURIComponent(drawing)}`
document.head.append(icon)
