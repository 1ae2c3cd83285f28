package packet

// DisableGSO makes c behave as on a kernel without it.
func DisableGSO(c *Conn) { c.gso.Store(false) }
